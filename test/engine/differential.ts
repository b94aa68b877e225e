/** Runs one script on two switches, between the same peers, and says where they first differ. */

import { inspect, isDeepStrictEqual } from "node:util";
import { nodeCrypto } from "../../src/crypto/node.ts";
import type { EngineCommand, SessionKeys } from "../../src/engine/engine.ts";

import { Switch } from "../../src/engine/portable/switch.ts";
import { makeCookie, sealHandshake } from "../../src/wire/admission.ts";
import { concat } from "../../src/wire/bytes.ts";
import { encodeInit, encodeJoin, putOuter } from "../../src/wire/datagram.ts";
import type { Endpoint, PeerId, SessionIndex } from "../../src/wire/ids.ts";
import {
  AT_A,
  AT_C,
  addressOf,
  admission,
  filled,
  Host,
  keys,
  type MakeSwitch,
  PEER_A,
  PEER_B,
  PEER_C,
  segment,
  VNI,
} from "./harness.ts";
import { type Damage, MACS, type Step } from "./script.ts";

const portable: MakeSwitch = options => new Switch(options);
/** Few, so that scripts reach them. */
const KEY_LIMITS = { rekeyPackets: 30, rejectPackets: 60 };

export interface Difference {
  readonly at: number;
  readonly what: string;
}

export function run(script: readonly Step[], one: MakeSwitch, other: MakeSwitch): Difference | undefined {
  const pair = new Pair(one, other);
  for (const [at, step] of script.entries()) {
    const what = pair.take(step);
    if (what !== undefined) return { at, what: `${what}\nafter ${inspect(step, { depth: 5, breakLength: 120 })}` };
  }
  return undefined;
}

class Pair {
  readonly #one: Host;
  readonly #other: Host;
  readonly #peers: readonly Host[];
  /** What the switches sent and no peer has got yet. */
  #sent: readonly { readonly to: Endpoint; readonly bytes: Uint8Array }[] = [];

  constructor(one: MakeSwitch, other: MakeSwitch) {
    const options = { keyLimits: KEY_LIMITS };
    this.#one = new Host(one, PEER_A, options);
    this.#other = new Host(other, PEER_A, options);
    this.#peers = [PEER_B, PEER_C].map(id => peerHost(id));
    // The harness's pair, less what scripts add.
    this.#both(host => {
      host.apply(admission(PEER_A), segment(), { do: "flood.set", vni: VNI, peers: [PEER_B, PEER_C] });
    });
  }

  /** What differs after the step. */
  take(step: Step): string | undefined {
    this.#carryOut(step);
    return this.#compare(step);
  }

  #carryOut(step: Step): void {
    switch (step.step) {
      case "apply":
        this.#apply(step.command);
        return;
      case "inside":
        this.#both(host => host.inside(step.frame, step.vni));
        return;
      case "peer": {
        const peer = this.#peer(step.by);
        peer.inside(step.frame);
        for (const { bytes } of peer.takeDatagrams()) this.#arrive(step.from, bytes, step.damage);
        return;
      }
      case "peer-control": {
        const peer = this.#peer(step.by);
        peer.switch.control(PEER_A, step.body, peer.now, peer.out);
        for (const { bytes } of peer.takeDatagrams()) this.#arrive(step.from, bytes, WHOLE);
        return;
      }
      case "sealed":
        this.#arrive(step.from, sealed(step.serial, step.queue, step.counter, step.inner), WHOLE);
        return;
      case "outside":
        this.#arrive(step.from, step.bytes, WHOLE);
        return;
      case "init":
        this.#knock(step.from, step.count, step.key, step.hasCookie);
        return;
      case "control":
        this.#both(host => host.switch.control(step.to, step.body, host.now, host.out));
        return;
      case "carry":
        this.#carry();
        return;
      case "pass":
        this.#pass(step.ms);
        return;
      case "jump":
        this.#both(host => {
          host.now += step.ms;
        });
        for (const peer of this.#peers) peer.now += step.ms;
        return;
      case "tick":
        this.#both(host => host.switch.tick(host.now, host.out));
        return;
      case "report":
        this.#both(host => {
          host.out.events.push(...host.switch.report());
        });
        return;
    }
  }

  /** A session that the switches get, its peer gets too. */
  #apply(command: EngineCommand): void {
    this.#both(host => host.apply(command));
    if (command.do !== "session.install") return;
    const peer = this.#peers.find(({ id }) => id === command.peer);
    peer?.apply(mirrored(command));
  }

  #knock(from: Endpoint, count: number, key: number, hasCookie: boolean): void {
    const cookie = hasCookie ? makeCookie(nodeCrypto, filled(2), from) : undefined;
    const body = key === 4 ? encodeJoin(1, 1, new Uint8Array(64)) : encodeInit(5 as SessionIndex, new Uint8Array(200));
    const bytes = sealHandshake(nodeCrypto, body, filled(key), cookie);
    for (let i = 0; i < count; i++) {
      // A flood comes from everywhere.
      const source = count < 100 ? from : (`10.1.${i >> 8}.${i & 255}:4794` as Endpoint);
      this.#both(host => host.outside(source, bytes));
    }
  }

  #arrive(from: Endpoint, whole: Uint8Array, damage: Damage): void {
    const bytes = whole.slice(0, damage.cut ?? whole.length);
    if (damage.flip !== undefined && damage.flip < bytes.length) bytes[damage.flip]! ^= 1 << (damage.flip % 8);
    for (let i = 0; i < damage.times; i++) this.#both(host => host.outside(from, bytes.slice()));
  }

  #carry(): void {
    for (const { to, bytes } of this.#sent) {
      const peer = this.#peers.find(({ id }) => addressOf(id) === to);
      peer?.outside(AT_A, bytes.slice());
    }
    this.#sent = [];
    for (const peer of this.#peers) {
      for (const { bytes } of peer.takeDatagrams()) this.#arrive(addressOf(peer.id), bytes, WHOLE);
    }
  }

  #pass(ms: number): void {
    this.#both(host => host.pass(ms));
    for (const peer of this.#peers) peer.now += ms;
  }

  #compare(step: Step): string | undefined {
    const one = outcome(this.#one);
    const other = outcome(this.#other);
    for (const peer of this.#peers) peer.out.clear();
    if (step.step !== "carry") this.#sent = [...this.#sent, ...one.datagrams].slice(-64);
    for (const [name, value] of Object.entries(one)) {
      const rival = other[name as keyof typeof other];
      if (!isDeepStrictEqual(value, rival)) return `${name}: ${text(value)}\nagainst ${text(rival)}`;
    }
    return undefined;
  }

  #peer(id: PeerId): Host {
    return this.#peers.find(peer => peer.id === id)!;
  }

  #both(what: (host: Host) => void): void {
    what(this.#one);
    what(this.#other);
  }
}

const WHOLE: Damage = { times: 1, flip: undefined, cut: undefined };

function outcome(host: Host) {
  return {
    datagrams: host.takeDatagrams(),
    frames: host.out.frames.splice(0),
    events: host.takeEvents(),
    deadline: host.switch.deadline(),
    stats: host.switch.stats(host.now),
  };
}

/** Another host, always the portable switch: it may send under any MAC that it has not heard of elsewhere. */
function peerHost(id: PeerId): Host {
  const host = new Host(portable, id);
  host.apply(admission(id), segment({ tapMtu: 1_500 }), { do: "flood.set", vni: VNI, peers: [PEER_A] });
  for (const mac of MACS) host.apply({ do: "mac.pin", vni: VNI, mac: macOf(mac), at: "local", kind: "seen" });
  host.apply({ do: "limits.set", bumPerPort: 100_000, bumPerSegment: 100_000, localMacs: 1_024 });
  host.apply({ do: "mac.unpin", vni: VNI, mac: macOf(MACS[0]!) });
  return host;
}

function macOf(mac: number): never {
  return mac
    .toString(16)
    .padStart(12, "0")
    .replace(/..(?!$)/g, "$&:") as never;
}

function mirrored(install: SessionKeys): EngineCommand {
  const { peer, local, remote, sealKey, sealIv, openKey, openIv } = install;
  return {
    ...install,
    do: "session.install",
    peer: PEER_A,
    local: remote,
    remote: local,
    sealKey: openKey,
    sealIv: openIv,
    openKey: sealKey,
    openIv: sealIv,
    confirmed: !install.confirmed,
    endpoint: peer === PEER_C ? AT_C : AT_A,
  };
}

/** What B would seal for A under session `serial`. */
function sealed(serial: number, queue: number, counter: number, inner: Uint8Array): Uint8Array {
  const { local, openKey, openIv, cipher } = keys(PEER_A, PEER_B, {}, serial) as unknown as SessionKeys;
  const header = new Uint8Array(16);
  putOuter(header, local, queue, counter);
  const nonce = openIv.map((byte, i) => (i < 4 ? byte : byte ^ header[i + 4]!));
  return concat(header, nodeCrypto.aead(cipher, openKey).seal(nonce, header, inner));
}

function text(value: unknown): string {
  const plain = JSON.parse(
    JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? Buffer.from(part).toString("hex") : part)) ??
      "null",
  );
  return inspect(plain, { depth: 8, breakLength: 140, maxStringLength: 400 });
}
