/** `npm run bench`: all benchmarks, or one with `-- --only NAME`. Ratios of one run count: absolute figures are this machine's, today. */

import { writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

/** Loaded when it runs: the network benchmarks need root and programs that the others do not. */
const BENCHES: Readonly<Record<string, () => Promise<unknown>>> = {
  micro: () => import("./micro.ts"),
  portable: async () => (await import("./portable.ts")).benchPortable(),
};

const { values } = parseArgs({ options: { only: { type: "string" }, out: { type: "string" } } });
const names = values.only === undefined ? Object.keys(BENCHES) : [values.only];
const results: Record<string, unknown> = {};
console.log(
  `${cpus().length} x ${cpus()[0]?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, Node ${process.versions.node}`,
);
for (const name of names) {
  const bench = BENCHES[name];
  if (bench === undefined) {
    console.error(`bench: there is no '${name}'; there are: ${Object.keys(BENCHES).join(", ")}`);
    process.exit(2);
  }
  console.log(`\n==> ${name}`);
  results[name] = await bench();
}
if (values.out !== undefined) writeFileSync(resolve(values.out), `${JSON.stringify(results, undefined, 2)}\n`);
