/** `npm run bench`: all benchmarks, or one with `-- --only NAME`; then docs/BENCHMARKS.md from all results there are. Ratios of one run count: absolute figures are this machine's, today. */

import { describeMachine, type Machine, machineLine } from "./machine.ts";
import { closeBeds } from "./net/bed.ts";
import { closeClusters } from "./net/cluster.ts";
import { otherLoadPercent } from "./net/cpu.ts";
import { type Options, OTHER_LOAD_MAX, parseOptions, USAGE } from "./options.ts";
import { verdictText, writeReport } from "./report/report.ts";
import { saveResult } from "./results.ts";

type Bench = (options: Options) => Promise<unknown>;

/** Loaded when it runs: the network benchmarks need root and programs that the others do not. */
const BENCHES: Readonly<Record<string, Bench>> = {
  micro: async () => (await import("./micro.ts")).benchMicro(),
  throughput: async options => (await import("./throughput.ts")).benchThroughput(options),
  latency: async options => (await import("./latency.ts")).benchLatency(options),
  scale: async options => (await import("./scale.ts")).benchScale(options),
  cost: async options => (await import("./cost.ts")).benchCost(options),
  convergence: async options => (await import("./convergence.ts")).benchConvergence(options),
  compare: async options => (await import("./compare.ts")).benchCompare(options),
  docker: async () => (await import("./docker.ts")).benchDocker(),
};
/** Runs when it is named: it needs Docker. */
const ON_DEMAND = "docker";

function options(): Options {
  try {
    const parsed = parseOptions(process.argv.slice(2));
    const names = [...Object.keys(BENCHES), "report"];
    if (parsed.only === undefined || names.includes(parsed.only)) return parsed;
    throw new TypeError(`there is no '${parsed.only}'; there are: ${names.join(", ")}`);
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

/** False when one failed; the others are run all the same. */
async function run(wanted: Options): Promise<boolean> {
  const machine = describeMachine();
  console.log(machineLine(machine));
  let wentWell = true;
  for (const [name, bench] of Object.entries(BENCHES)) {
    if (wanted.only === undefined ? name === ON_DEMAND : wanted.only !== name) continue;
    console.log(`\n==> ${name}`);
    try {
      await runOne(name, bench, machine, wanted);
    } catch (error) {
      console.error(error);
      wentWell = false;
    }
  }
  return wentWell;
}

async function runOne(name: string, bench: Bench, machine: Machine, wanted: Options): Promise<void> {
  const { rounds, seconds, isDraft } = wanted;
  const otherLoad = await otherLoadPercent();
  if (otherLoad > OTHER_LOAD_MAX) console.log(`  the machine is ${otherLoad.toFixed(0)} % busy with other things`);
  const data = await bench(wanted);
  const date = new Date().toISOString().slice(0, 10);
  saveResult(name, { date, machine, rounds, seconds, otherLoadPercent: Math.round(otherLoad), data }, isDraft);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => closeAll().finally(() => process.exit(130)));
}
try {
  const wanted = options();
  const wentWell = await run(wanted);
  if (wanted.isDraft) console.log(`\n${verdictText(true)}`);
  const isGood = wanted.isDraft || writeReport();
  if (!wentWell || !isGood) process.exitCode = 1;
} finally {
  await closeAll();
}

async function closeAll(): Promise<void> {
  await closeBeds();
  await closeClusters();
}
