/** Random scripts for two switches: commands, frames, datagrams honest and hostile, and the passing of time. Plain data, so that a failure prints. */

import fc from "fast-check";
import { nodeCrypto } from "../../src/crypto/node.ts";
import type { EngineCommand, SessionKeys } from "../../src/engine/engine.ts";
import { makeLoopProbe } from "../../src/engine/portable/loop.ts";
import type { Frame, Gso } from "../../src/engine/portable/out.ts";
import type { Endpoint, PeerId, Vni } from "../../src/wire/ids.ts";
import { macFromNumber } from "../../src/wire/ids.ts";
import {
  ACK,
  arpRequest,
  BROADCAST,
  CWR,
  ethernet,
  FIN,
  mac,
  PSH,
  SYN,
  solicitation,
  tcp,
  u16,
  udp,
} from "./frames.ts";
import {
  AT_A,
  AT_B,
  AT_C,
  admission,
  filled,
  keys,
  LOOP_KEY,
  PEER_A,
  PEER_B,
  PEER_C,
  segment,
  VNI,
} from "./harness.ts";

export type Step =
  | { readonly step: "apply"; readonly command: EngineCommand }
  | { readonly step: "inside"; readonly vni: Vni; readonly frame: Frame }
  /** What `from` makes of a frame or a control arrives, perhaps from another address, perhaps damaged. */
  | {
      readonly step: "peer";
      readonly by: PeerId;
      readonly frame: Frame;
      readonly from: Endpoint;
      readonly damage: Damage;
    }
  | { readonly step: "peer-control"; readonly by: PeerId; readonly body: Uint8Array; readonly from: Endpoint }
  /** Sealed by hand under session `serial`: whatever a member can do. */
  | {
      readonly step: "sealed";
      readonly serial: number;
      readonly queue: number;
      readonly counter: number;
      readonly inner: Uint8Array;
      readonly from: Endpoint;
    }
  | { readonly step: "outside"; readonly from: Endpoint; readonly bytes: Uint8Array }
  | {
      readonly step: "init";
      readonly from: Endpoint;
      readonly count: number;
      readonly key: number;
      readonly hasCookie: boolean;
    }
  | { readonly step: "control"; readonly to: PeerId; readonly body: Uint8Array }
  /** What the switch has sent arrives at its peers. */
  | { readonly step: "carry" }
  | { readonly step: "pass"; readonly ms: number }
  /** Time goes on without the ticks that were asked for. */
  | { readonly step: "jump"; readonly ms: number }
  | { readonly step: "tick" }
  | { readonly step: "report" };

/** A datagram comes whole, or twice, or with one bit turned, or cut. */
export interface Damage {
  readonly times: number;
  readonly flip: number | undefined;
  readonly cut: number | undefined;
}

const PEER_D = "dd".repeat(16) as PeerId;
const one = fc.constantFrom;
const peers = one(PEER_B, PEER_B, PEER_C, PEER_D);
const vnis = one(7 as Vni, 7 as Vni, 7 as Vni, 8 as Vni);
export const MACS: readonly number[] = [
  0x0200_0000_000a, 0x0200_0000_000b, 0x0200_0000_000c, 0x0200_0000_000d, 0x0200_0000_000e,
];
const macs = one(...MACS);
const oddMacs = fc.oneof(
  { weight: 12, arbitrary: macs },
  { weight: 1, arbitrary: one(0, BROADCAST, 0x0300_0000_0001, 0x0180_c200_0003, 0x3333_0000_0001) },
);
const destinations = fc.oneof({ weight: 4, arbitrary: oddMacs }, { weight: 1, arbitrary: one(BROADCAST) });
const endpoints = one(
  AT_A,
  AT_B,
  AT_B,
  AT_C,
  "10.9.0.9:5" as Endpoint,
  "[fd09:0:0:1::]:65535" as Endpoint,
  "[fd09::1:0:0:3]:1" as Endpoint,
  "[::1]:4794" as Endpoint,
);
const IPS4 = [
  [10, 77, 0, 1],
  [10, 77, 0, 2],
  [0, 0, 0, 0],
];
const IPS6 = [1, 2, 0].map(last => [...(last === 0 ? [0, 0] : [0xfd, 0x77]), ...new Array(13).fill(0), last]);
const ips = one("10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2");
const serials = fc.integer({ min: 1, max: 4 });
const payloads = fc.oneof(
  fc.uint8Array({ maxLength: 80 }).map(bytes => [...bytes]),
  one(0, 1, 300, 1_376, 1_398, 1_399).map(length => new Array<number>(length).fill(7)),
);

/** Indices and keys of a peer's own. */
function sessionOf(peer: PeerId, serial: number, over: Partial<SessionKeys>): EngineCommand {
  return keys(PEER_A, peer, over, serialOf(peer, serial));
}

export function serialOf(peer: PeerId, serial: number): number {
  return serial + 10 * [PEER_B, PEER_C, PEER_D].indexOf(peer);
}

const commands: fc.Arbitrary<EngineCommand> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .record({
        peer: peers,
        serial: serials,
        over: fc.record(
          {
            cipher: one("chacha20-poly1305" as const, "aes-256-gcm" as const),
            confirmed: fc.boolean(),
            partialChecksum: fc.boolean(),
            peerQueues: one(1, 3, 16),
            endpoint: endpoints,
          },
          { requiredKeys: [] },
        ),
      })
      .map(({ peer, serial, over }) => sessionOf(peer, serial, over)),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(peers, serials).map(([peer, serial]) => {
      const { local } = sessionOf(peer, serial, {}) as unknown as SessionKeys;
      return { do: "session.retire" as const, peer, local };
    }),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(peers, fc.array(endpoints, { maxLength: 2 }))
      .map(([peer, list]) => ({ do: "peer.endpoints" as const, peer, endpoints: list })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        vni: vnis,
        mtu: one(1_390, 1_390, 600, 41),
        tapMtu: one(1_390, 1_500, 100, 70_000),
        pinnedOnly: one(false, false, true),
        loopProbe: fc.boolean(),
      })
      .map(segment),
  },
  { weight: 1, arbitrary: vnis.map(vni => ({ do: "segment.close" as const, vni })) },
  {
    weight: 1,
    arbitrary: fc.tuple(vnis, fc.boolean()).map(([vni, blocked]) => ({ do: "segment.block" as const, vni, blocked })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(vnis, fc.array(peers, { maxLength: 4 }))
      .map(([vni, list]) => ({ do: "flood.set" as const, vni, peers: list })),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        vnis,
        oddMacs,
        one("local" as const, PEER_B, PEER_B, PEER_C, PEER_D),
        one("seen" as const, "pinned" as const),
      )
      .map(([vni, mac, at, kind]) => ({ do: "mac.pin" as const, vni, mac: macFromNumber(mac), at, kind })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(vnis, oddMacs)
      .map(([vni, mac]) => ({ do: "mac.unpin" as const, vni, mac: macFromNumber(mac) })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(vnis, ips, macs)
      .map(([vni, ip, mac]) => ({ do: "neighbour.set" as const, vni, ip: ip as never, mac: macFromNumber(mac) })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(vnis, ips).map(([vni, ip]) => ({ do: "neighbour.unset" as const, vni, ip: ip as never })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(one(1, 3, 1_000), one(1, 2, 5_000), one(0, 1, 2, 1_024))
      .map(([bumPerPort, bumPerSegment, localMacs]) => ({
        do: "limits.set" as const,
        bumPerPort,
        bumPerSegment,
        localMacs,
      })),
  },
  {
    weight: 1,
    arbitrary: one(admission(PEER_A), { ...admission(PEER_A), mac1: undefined, mac1Join: filled(4) } as never),
  },
);

const flags = one(ACK, ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, ACK | CWR | PSH | FIN, 0);
const checksums = one("complete" as const, "complete" as const, "partial" as const, "wrong" as const);
const optionLists = one(
  [],
  [2, 4, ...u16(1_460)],
  [1, 3, 3, 7, 2, 4, ...u16(9_000)],
  [1, 2, 4, ...u16(1_400), 0, 0, 0],
  [2, 0, 5, 180],
  [8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1],
);
const families = one(4 as const, 4 as const, 6 as const);

/** A whole TCP or UDP frame, sometimes a super-frame, sometimes tagged. */
const packets: fc.Arbitrary<Frame> = fc
  .record({
    isTcp: one(true, true, false),
    family: families,
    payload: payloads,
    flags,
    options: optionLists,
    checksum: checksums,
    source: macs,
    destination: destinations,
    id: one(1, 65_534, 65_535),
    sequence: one(1_000, 0xffff_ffff),
    tags: one(0, 0, 0, 1, 2, 3),
    gsoSize: one(undefined, undefined, 0, 1, 40, 100, 1_000),
    gsoType: one(undefined, undefined, undefined, "tcp4" as const, "udp6" as const),
    padding: one(0, 0, 0, 3),
  })
  .map(given => {
    const { isTcp, family, checksum, tags } = given;
    const bytes = isTcp ? tcp(given) : udp(given);
    const tag = [0x81, 0, 0, 5];
    const tagged = Uint8Array.from([
      ...bytes.subarray(0, 12),
      ...new Array(tags).fill(tag).flat(),
      ...bytes.subarray(12),
      ...new Array(given.padding).fill(0),
    ]);
    const start = (family === 4 ? 34 : 54) + 4 * tags;
    const type: Gso["type"] = given.gsoType ?? `${isTcp ? "tcp" : "udp"}${family}`;
    return {
      bytes: tagged,
      checksum: checksum === "partial" ? { start, offset: isTcp ? 16 : 6 } : "complete",
      ...(given.gsoSize === undefined ? {} : { gso: { type, size: given.gsoSize } }),
    };
  });

const complete = (bytes: Uint8Array): Frame => ({ bytes, checksum: "complete" });
const questions: fc.Arbitrary<Frame> = fc.oneof(
  fc.tuple(macs, one(...IPS4), one(...IPS4), macs).map(([mac, sender, target, ethernetSource]) => {
    const frame = arpRequest(mac, sender, target);
    if (ethernetSource === MACS[4]) frame[11] = 0x0c;
    return complete(frame);
  }),
  fc
    .tuple(macs, one(...IPS6), one(...IPS6))
    .map(([mac, sender, target]) => complete(solicitation(mac, sender, target))),
);
/** A payload equal to the checksum of zeros brings a sum to all ones, whose complement is zero. */
const zeroSums: fc.Arbitrary<Frame> = fc.tuple(families, macs, macs).map(([family, source, destination]) => {
  const start = family === 4 ? 34 : 54;
  const zeros = udp({ family, payload: [0, 0] });
  const payload = [...zeros.subarray(start + 6, start + 8)];
  const bytes = udp({ family, payload, checksum: "partial", source, destination });
  return { bytes, checksum: { start, offset: 6 } };
});
const probes: fc.Arbitrary<Frame> = fc
  .record({ key: one(LOOP_KEY, LOOP_KEY, filled(8)), by: one(PEER_A, PEER_B), vni: one(7, 7, 8), ageMs: one(0, 2_250) })
  .map(({ key, ...probe }) => complete(makeLoopProbe(nodeCrypto, key, Uint8Array.from(mac(MACS[2]!)), probe)));
const others: fc.Arbitrary<Frame> = fc.oneof(
  fc.tuple(destinations, oddMacs, payloads).map(([to, from, payload]) => complete(ethernet(to, from, 0x1234, payload))),
  fc.uint8Array({ maxLength: 100 }).map(complete),
);
/** Any of the above with a byte changed: headers that contradict themselves. */
const damaged: fc.Arbitrary<Frame> = fc
  .tuple(fc.oneof(packets, questions), fc.nat(90), fc.nat(255))
  .map(([frame, at, byte]) => ({ ...frame, bytes: frame.bytes.map((old, i) => (i === at ? byte : old)) }));
export const frames: fc.Arbitrary<Frame> = fc.oneof(
  { weight: 5, arbitrary: packets },
  { weight: 3, arbitrary: others },
  { weight: 2, arbitrary: questions },
  { weight: 1, arbitrary: zeroSums },
  { weight: 1, arbitrary: probes },
  { weight: 3, arbitrary: damaged },
);

const damages: fc.Arbitrary<Damage> = fc.record({
  times: one(1, 1, 1, 2),
  flip: one(undefined, undefined, undefined, 0, 1, 5, 8, 9, 20, 40),
  cut: one(undefined, undefined, undefined, undefined, 3, 39, 45),
});
const inners: fc.Arbitrary<Uint8Array> = fc
  .record({
    kind: one(1, 1, 1, 2, 3, 9),
    vni: one(7, 7, 0, 9),
    start: one(0, 34, 34, 54, 13, 200),
    offset: one(0, 16, 16, 6, 15),
    frame: fc.oneof(frames, fc.constant(complete(new Uint8Array(0)))),
  })
  .map(({ kind, vni, start, offset, frame }) =>
    Uint8Array.from([kind, 0, 0, vni, ...u16(start), ...u16(offset), ...frame.bytes]),
  );

const lengths = one(35, 60, 61, 88, 132, 1_196, 1_197).map(length => filled(1, length));
const bodies = fc.uint8Array({ maxLength: 40 });
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 14, arbitrary: commands.map(command => ({ step: "apply" as const, command })) },
  { weight: 14, arbitrary: fc.record({ step: fc.constant("inside" as const), vni: vnis, frame: frames }) },
  {
    weight: 10,
    arbitrary: fc.record({
      step: fc.constant("peer" as const),
      by: one(PEER_B, PEER_C),
      frame: frames,
      from: fc.oneof({ weight: 3, arbitrary: one(AT_B) }, { weight: 1, arbitrary: endpoints }),
      damage: damages,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      step: fc.constant("peer-control" as const),
      by: one(PEER_B, PEER_C),
      body: bodies,
      from: endpoints,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      step: fc.constant("sealed" as const),
      serial: one(1, 1, 1, 2),
      queue: one(1, 1, 0, 2, 17),
      counter: one(0, 1, 2, 3, 5, 63, 64, 8_191, 8_192, 8_193, 20_000, 2 ** 53 - 1, 2 ** 53),
      inner: inners,
      from: endpoints,
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(endpoints, fc.oneof(fc.uint8Array({ maxLength: 300 }), lengths), fc.nat(6))
      .map(([from, bytes, type]) => ({
        step: "outside" as const,
        from,
        bytes: Uint8Array.from([type, 0, 0, 0, ...bytes]),
      })),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      step: fc.constant("init" as const),
      from: endpoints,
      count: one(1, 1, 25, 250),
      key: one(1, 1, 1, 3),
      hasCookie: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ step: fc.constant("control" as const), to: peers, body: bodies }) },
  { weight: 6, arbitrary: fc.constant({ step: "carry" as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      step: fc.constant("pass" as const),
      ms: one(1, 9, 10, 99, 100, 249, 250, 1_000, 2_000, 10_000, 15_000, 25_000, 60_000),
    }),
  },
  { weight: 1, arbitrary: one(179_000, 600_000).map(ms => ({ step: "pass" as const, ms })) },
  { weight: 2, arbitrary: one(1, 100, 1_000, 10_000, 180_000).map(ms => ({ step: "jump" as const, ms })) },
  { weight: 1, arbitrary: fc.constant({ step: "tick" as const }) },
  { weight: 1, arbitrary: fc.constant({ step: "report" as const }) },
);

/** A switch with a confirmed session and known MACs: half of the scripts begin here, where the deeper ways are. */
const PREPARED: readonly Step[] = [
  { step: "apply", command: sessionOf(PEER_B, 1, { confirmed: true }) },
  { step: "carry" },
  ...(["local", PEER_B, PEER_B, PEER_C] as const).map(
    (at, i): Step => ({
      step: "apply",
      command: { do: "mac.pin", vni: VNI, mac: macFromNumber(MACS[i]!), at, kind: "seen" },
    }),
  ),
];

export const scripts: fc.Arbitrary<readonly Step[]> = fc
  .tuple(fc.boolean(), fc.array(steps, { minLength: 20, maxLength: 60, size: "max" }))
  .map(([isPrepared, rest]) => (isPrepared ? [...PREPARED, ...rest] : rest));
