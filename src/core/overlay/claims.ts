/** Claims on their way to the hosts of a segment: sent at once or gathered, resent until acknowledged, and what was not heard is left to gossip. */

import { controlLength } from "../../wire/control.ts";
import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import { CLAIM_RECORDS_MAX, type OverlayMessage } from "../../wire/messages/overlay.ts";
import { CONTROL_BYTES_MAX } from "../../wire/protocol.ts";
import { Agenda } from "../agenda.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import { CLAIM_GATHER_MS, CLAIM_SETTLE_MS, CLAIM_WAITS_MS, CLAIMS_PENDING_MAX, FRESH_CLAIMS_PER_S } from "./limits.ts";
import { Rate } from "./rate.ts";
import { type Spot, spotKey, spotOf } from "./spot.ts";

/** Claims that travel in one message. */
interface Pending {
  readonly id: number;
  readonly vni: Vni;
  /** Signed records by spot; one that was overtaken is taken out. */
  readonly records: Map<string, Uint8Array>;
  readonly unacked: Set<PeerId>;
  /** How often it was sent. */
  sent: number;
  /** As it was sent last: whoever still waits for a session with a host has it once, however often it was sent. */
  message: OverlayMessage | undefined;
}

/** What a tick brings to an end. */
export interface ClaimsDone {
  /** Moves that have waited long enough. */
  readonly settled: readonly Spot[];
  /** Records that not all hosts have acknowledged: they go on by gossip. */
  readonly unheard: readonly Uint8Array[];
}

type Hosts = (vni: Vni) => readonly PeerId[];

export class Claims {
  readonly #hosts: Hosts;
  readonly #pending = new Map<number, Pending>();
  readonly #idOf = new Map<string, number>();
  readonly #resend = new Agenda<number>();
  /** Claims of MACs that nobody held, waiting for others to go with; a network is here for a while after each sending. */
  readonly #gathered = new Map<Vni, Map<string, Uint8Array>>();
  readonly #gather = new Agenda<Vni>();
  /** Moves whose frames an engine holds until the claim has arrived or this time has come. */
  readonly #settle = new Agenda();
  readonly #fresh = new Rate<"all">(FRESH_CLAIMS_PER_S);
  #id = 0;

  constructor(hosts: Hosts) {
    this.#hosts = hosts;
  }

  /** Sends the signed record of a MAC that moves. False when it is left to gossip. With `holds` the spot is reported as settled once, by `ack` or `tick`. */
  move(spot: Spot & { readonly record: Uint8Array }, holds: boolean, now: Millis, out: Outbox): boolean {
    const key = spotKey(spot.vni, spot.mac);
    this.cancel(spot.vni, spot.mac);
    const sent = this.#send(spot.vni, new Map([[key, spot.record]]), this.#hosts(spot.vni), now, out);
    if (sent && holds) this.#settle.set(key, now + CLAIM_SETTLE_MS, "claim settle");
    return sent;
  }

  /** The same of a MAC that nobody held. It waits a moment for others when one was sent just now. */
  begin(spot: Spot & { readonly record: Uint8Array }, now: Millis, out: Outbox): boolean {
    const { vni, mac, record } = spot;
    const key = spotKey(vni, mac);
    this.cancel(vni, mac);
    const gathered = this.#gathered.get(vni);
    if (gathered !== undefined) {
      gathered.set(key, record);
      return true;
    }
    this.#gatherFrom(vni, now);
    return this.#sendFresh(vni, new Map([[key, record]]), now, out);
  }

  /** The move that settled, when this was the last acknowledgement it waited for. */
  ack(from: PeerId, id: number): Spot | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined || !pending.unacked.delete(from) || pending.unacked.size > 0) return undefined;
    this.#end(pending);
    const [key] = pending.records.keys();
    return key !== undefined && this.#settle.delete(key) ? spotOf(key) : undefined;
  }

  cancel(vni: Vni, mac: Mac): void {
    const key = spotKey(vni, mac);
    this.#gathered.get(vni)?.delete(key);
    this.#settle.delete(key);
    const pending = this.#pending.get(this.#idOf.get(key) ?? 0);
    this.#idOf.delete(key);
    if (pending?.records.delete(key) !== true) return;
    pending.message = undefined;
    if (pending.records.size === 0) this.#end(pending);
  }

  /** Sends what was gathered, and what is due again to those that have not answered. */
  tick(now: Millis, out: Outbox): ClaimsDone {
    const unheard: Uint8Array[] = [];
    for (const vni of this.#gather.take(now)) unheard.push(...this.#sendGathered(vni, now, out));
    for (const id of this.#resend.take(now)) unheard.push(...this.#again(this.#pending.get(id)!, now, out));
    return { settled: this.#settle.take(now).map(spotOf), unheard };
  }

  deadline(): Deadline | undefined {
    return earlier(this.#gather.next(), earlier(this.#resend.next(), this.#settle.next()));
  }

  #gatherFrom(vni: Vni, now: Millis): void {
    this.#gathered.set(vni, new Map());
    this.#gather.set(vni, now + CLAIM_GATHER_MS, "claims gathered");
  }

  /** Those that did not leave after all. */
  #sendGathered(vni: Vni, now: Millis, out: Outbox): Uint8Array[] {
    const gathered = this.#gathered.get(vni)!;
    this.#gathered.delete(vni);
    if (gathered.size === 0) return [];
    this.#gatherFrom(vni, now);
    return fitting(gathered).flatMap(records => (this.#sendFresh(vni, records, now, out) ? [] : [...records.values()]));
  }

  /** Too many at once are left to gossip. */
  #sendFresh(vni: Vni, records: Map<string, Uint8Array>, now: Millis, out: Outbox): boolean {
    const hosts = this.#hosts(vni);
    return this.#fresh.take("all", now, hosts.length) && this.#send(vni, records, hosts, now, out);
  }

  #send(vni: Vni, records: Map<string, Uint8Array>, hosts: readonly PeerId[], now: Millis, out: Outbox): boolean {
    if (hosts.length === 0 || this.#pending.size >= CLAIMS_PENDING_MAX) return false;
    this.#id = (this.#id % 0xffff_ffff) + 1;
    const pending = { id: this.#id, vni, records, unacked: new Set(hosts), sent: 0, message: undefined };
    this.#pending.set(pending.id, pending);
    for (const key of records.keys()) this.#idOf.set(key, pending.id);
    this.#post(pending, hosts, now, out);
    return true;
  }

  #post(pending: Pending, hosts: readonly PeerId[], now: Millis, out: Outbox): void {
    this.#resend.set(pending.id, now + CLAIM_WAITS_MS[pending.sent]!, "claim resend");
    pending.sent += 1;
    pending.message ??= claim(pending.records, pending.id);
    for (const to of hosts) out.controls.push({ to, message: pending.message });
  }

  /** Hosts that are no longer of the segment, or dead, are not waited for. Returns what was sent often enough. */
  #again(pending: Pending, now: Millis, out: Outbox): Uint8Array[] {
    const left = this.#hosts(pending.vni).filter(host => pending.unacked.has(host));
    if (left.length === 0 || pending.sent === CLAIM_WAITS_MS.length) {
      this.#end(pending);
      return [...pending.records.values()];
    }
    this.#post(pending, left, now, out);
    return [];
  }

  #end(pending: Pending): void {
    this.#pending.delete(pending.id);
    this.#resend.delete(pending.id);
    for (const key of pending.records.keys()) if (this.#idOf.get(key) === pending.id) this.#idOf.delete(key);
  }
}

function claim(records: ReadonlyMap<string, Uint8Array>, id: number): OverlayMessage {
  return { t: "claim", records: [...records.values()], id };
}

/** As many to a message as a datagram holds. */
function fitting(records: ReadonlyMap<string, Uint8Array>): Map<string, Uint8Array>[] {
  const messages: Map<string, Uint8Array>[] = [];
  let last = new Map<string, Uint8Array>();
  for (const [key, record] of records) {
    const more = new Map(last).set(key, record);
    if (last.size === 0) messages.push(last);
    else if (more.size > CLAIM_RECORDS_MAX || controlLength(claim(more, 0xffff_ffff)) > CONTROL_BYTES_MAX) {
      last = new Map();
      messages.push(last);
    }
    last.set(key, record);
  }
  return messages;
}
