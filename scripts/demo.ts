/** The demo: three hosts, three daemons, one Layer 2 network. Started by scripts/demo. */

import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { type Container, type Host, Lab, until } from "../test/net/lab.ts";

const FILE_BYTES = 10 * 2 ** 20;
const PORT = "7000";
const keep = process.argv.includes("--keep");

const started = performance.now();
const lab = new Lab();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.once(signal, () => void lab.close().then(() => process.exit(128 + constants.signals[signal])));
try {
  await demo();
} catch (error) {
  console.error(`demo: ${(error as Error).message}`);
  process.exitCode = 1;
}
if (keep && process.exitCode === undefined) stay();
else {
  await lab.close();
  say(`cleaned up; ${((performance.now() - started) / 1000).toFixed(0)} s after the set-up`);
}

async function demo(): Promise<void> {
  say("three hosts: network namespaces a, b and c on one underlay, a daemon in each");
  const [a, b, c] = lab.hosts(3) as [Host, Host, Host];
  await Promise.all([a.start(), b.start(), c.start()]);

  say("a makes a cluster and a token; b joins through a, c joins through b");
  shown("a", "overlayd init --name lab", await a.cli("init", "--name", "lab", "--host", "a"));
  const token = (await a.cli("token", "create", "--ttl", "1h", "--uses", "2")).trim();
  shown("b", `overlayd join ${a.address}`, b.join(a.address, token));
  shown("c", `overlayd join ${b.address}`, c.join(b.address, token));

  say("a network, and a bridge on each host plugged into it");
  shown(
    "a",
    "overlayd network create blue --subnet 10.77.0.0/16",
    await a.cli("network", "create", "blue", "--subnet", "10.77.0.0/16"),
  );
  await Promise.all(
    [b, c].map(host => until(`${host.name} knows blue`, async () => (await host.cli("networks")).includes("blue"))),
  );
  for (const host of [a, b, c])
    shown(host.name, "overlayd attach blue --bridge br-blue", await host.cli("attach", "blue", "--bridge", "br-blue"));
  const [ca, cb, cc] = [a, b, c].map((host, index) =>
    host.container(`c${index + 1}`, "br-blue", `10.77.0.${index + 1}/16`),
  ) as [Container, Container, Container];

  say("ping between containers on different hosts");
  await until("first ping", () => ca.pings(cc.address));
  shown("container on a", `ping -c 3 ${cb.address}`, await ca.exec("ping", "-c", "3", "-i", "0.2", cb.address));
  shown("container on b", `ping -c 3 ${cc.address}`, await cb.exec("ping", "-c", "3", "-i", "0.2", cc.address));

  say("10 MB over TCP from the container on a to the one on c");
  await copy(ca, cc);

  say("what b sees");
  for (const table of ["status", "peers", "macs", "networks"]) shown("b", `overlayd ${table}`, await b.cli(table));
}

async function copy(from: Container, to: Container): Promise<void> {
  const [sent, received] = [join(lab.dir, "sent"), join(lab.dir, "received")];
  writeFileSync(sent, randomBytes(FILE_BYTES));
  const sink = to.spawn("socat", "-u", `TCP-LISTEN:${PORT},reuseaddr`, `OPEN:${received},creat`);
  const done = new Promise(resolve => sink.once("exit", resolve));
  await until("the receiver listens", async () => (await to.exec("ss", "-Hltn", `sport = :${PORT}`)) !== "");
  const start = performance.now();
  await from.exec("socat", "-u", `OPEN:${sent}`, `TCP:${to.address}:${PORT}`);
  await done;
  const seconds = (performance.now() - start) / 1000;
  const same = digest(sent) === digest(received);
  if (!same) throw new Error("the copy differs from the original");
  console.log(`  ${FILE_BYTES} bytes in ${seconds.toFixed(1)} s, same SHA-256: ${digest(received).slice(0, 16)}…`);
}

function digest(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

function stay(): void {
  const host = lab.all()[1]!;
  console.log(`
It goes on running. Look inside:
  ip netns exec ${host.namespace} scripts/overlayd --socket ${host.socket} peers --watch
  ip netns exec ${host.namespace} bash             # host b; its log is ${host.logFile}
  ip netns                                          # the other hosts and the containers
Ctrl-C ends it and cleans up.`);
  setInterval(() => undefined, 60_000);
}

function say(what: string): void {
  console.log(`\n\u001b[1m==> ${what}\u001b[0m`);
}

function shown(where: string, command: string, output: string): void {
  console.log(`  ${where}# ${command}`);
  for (const line of output.trimEnd().split("\n")) console.log(`    ${line}`);
}
