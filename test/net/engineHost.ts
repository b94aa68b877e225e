/**
 * One engine with a fixed session and one segment, for engine.test.ts and native.test.ts. Runs inside a host's namespace:
 *   node engineHost.ts <number of this host, 1 or 2> <endpoint of the other> <cipher> <engine> [<engine of the other>]
 * Prints a line of JSON for every event but learning, and its drops when it is told to stop.
 */

import { randomBytes } from "node:crypto";
import type { Cipher } from "../../src/crypto/crypto.ts";
import { nodeCrypto } from "../../src/crypto/node.ts";
import type { Engine, EngineEvent } from "../../src/engine/engine.ts";
import { type EngineChoice, loadEngine } from "../../src/engine/load.ts";
import type { Endpoint, Mac, PeerId, SessionIndex, Vni } from "../../src/wire/ids.ts";

const self = Number(process.argv[2]);
const other = 3 - self;
const endpoint = process.argv[3] as Endpoint;
const cipher = process.argv[4] as Cipher;
const kind = process.argv[5] as EngineChoice;
const otherKind = process.argv[6] ?? kind;

const id = (host: number) => (host === 1 ? "aa" : "bb").repeat(16) as PeerId;
const filled = (value: number, length = 32) => new Uint8Array(length).fill(value);
const print = (value: unknown) => console.log(JSON.stringify(value));

/** Stands in for the core: whoever is heard owns the MAC. */
function handle(engine: Engine, event: EngineEvent): void {
  if (event.on !== "mac.learned") print(event);
  else engine.apply([{ do: "mac.pin", vni: event.vni, mac: event.mac, at: event.at, kind: "seen" }]);
}

const { engine } = await loadEngine(kind, {
  crypto: nodeCrypto,
  rng: length => randomBytes(length),
  clock: () => performance.now(),
  listen: [{ port: 4794 }],
});
engine.onReady(() => {
  for (const event of engine.takeEvents()) handle(engine, event);
});
engine.apply([
  {
    do: "admission.set",
    mac1: filled(1),
    mac1Join: undefined,
    cookieSecret: filled(2),
    loopKey: filled(3),
    self: id(self),
  },
  {
    do: "segment.open",
    vni: 7 as Vni,
    tap: "ovt-7",
    tapMac: `02:fe:00:00:00:0${self}` as Mac,
    tapMtu: 1500,
    mtu: 1390,
    pinnedOnly: false,
    loopProbe: true,
  },
  { do: "flood.set", vni: 7 as Vni, peers: [id(other)] },
  {
    do: "session.install",
    peer: id(other),
    keyId: "static",
    local: (100 + self) as SessionIndex,
    remote: (100 + other) as SessionIndex,
    cipher,
    sealKey: filled(10 + self),
    sealIv: filled(20 + self, 12),
    openKey: filled(10 + other),
    openIv: filled(20 + other, 12),
    confirmed: true,
    peerQueues: 16,
    partialChecksum: otherKind === "native",
    endpoint,
  },
]);
print({ up: true });
process.on("SIGTERM", () => {
  print({ stats: engine.stats() });
  void engine.close();
});
