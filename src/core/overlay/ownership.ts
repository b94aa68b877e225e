/**
 * Who owns which MAC (docs/PROTOCOL.md "MAC ownership"). Traffic makes claims, records carry them, the order of claims decides, and whoever lost withdraws.
 * The claimant alone judges whether it moves a MAC too often: hosts that count apart from each other must not come to different views.
 */

import type { Rng } from "../../crypto/crypto.ts";
import type { EngineEvent, MacKind } from "../../engine/engine.ts";
import { controlLength } from "../../wire/control.ts";
import type { Ip, Mac, PeerId, Vni } from "../../wire/ids.ts";
import type { OverlayMessage } from "../../wire/messages/overlay.ts";
import { CONTROL_BYTES_MAX } from "../../wire/protocol.ts";
import { Agenda } from "../agenda.ts";
import { type Deadline, earlier, type Machine, type Millis, type Outbox } from "../machine.ts";
import type { Notice } from "../notice.ts";
import { Ahead } from "./ahead.ts";
import { Asks } from "./asks.ts";
import { Claims } from "./claims.ts";
import type { AcceptedRecord, Ledger, SignedBytes } from "./ledger.ts";
import { FREEZE_MS, LOCAL_MACS, MESSAGES_PER_PEER_S, SEQUENCE_MAX, SPOOF_INTERVAL_MS, SPOOFS_MAX } from "./limits.ts";
import { Moves } from "./moves.ts";
import { beats, type Claim, type Holdings, type IpClaim, type OwnerChange } from "./owners.ts";
import { PINS_FILE, type Pin, Pins } from "./pins.ts";
import { Rate } from "./rate.ts";
import { type MacRecord, macRecord, parseRecord, vniOf } from "./records.ts";
import { OwnedSegment, type SegmentRules } from "./segment.ts";
import { type Spot, spotKey, spotOf } from "./spot.ts";

export type MacEvent = Extract<EngineEvent, { readonly on: `mac.${string}` | "macs.full" }>;

export interface OwnershipOptions {
  readonly self: PeerId;
  readonly rng: Rng;
  readonly ledger: Ledger;
  /** The live hosts of a segment but this one, as in its flood list. */
  readonly hosts: (vni: Vni) => readonly PeerId[];
  /** What `parsePins` read from the state directory. */
  readonly pins?: readonly Pin[];
  readonly localMacs?: number;
}

export interface Owner {
  readonly peer: PeerId;
  readonly seq: number;
  readonly kind: MacKind;
  readonly ips: readonly Ip[];
  readonly name?: string | undefined;
}

/** What came of pinning. `later`: kept, and published when the network is attached or its conflict ends. */
export type PinResult = "pinned" | "later" | "full";

export class Ownership implements Machine<OverlayMessage> {
  readonly #self: PeerId;
  readonly #ledger: Ledger;
  readonly #localMacs: number;
  readonly #segments = new Map<Vni, OwnedSegment>();
  readonly #pins: Pins;
  readonly #moves = new Moves();
  readonly #claims: Claims;
  readonly #asks: Asks;
  readonly #ahead: Ahead;
  /** MACs this host will not claim again before a time. */
  readonly #frozen = new Agenda();
  readonly #spoofs = new Agenda();
  readonly #messages = new Rate<PeerId>(MESSAGES_PER_PEER_S);

  constructor(options: OwnershipOptions) {
    this.#self = options.self;
    this.#ledger = options.ledger;
    this.#claims = new Claims(options.hosts);
    this.#localMacs = options.localMacs ?? LOCAL_MACS;
    this.#pins = new Pins(options.pins);
    this.#asks = new Asks(options.rng);
    this.#ahead = new Ahead(options.ledger);
  }

  /** Opens and closes segments so that exactly `wanted` are open. What this host claimed in a closed one is withdrawn; pins come back when it opens again. */
  segments(wanted: ReadonlyMap<Vni, SegmentRules>, now: Millis, out: Outbox): void {
    for (const segment of [...this.#segments.values()]) if (!wanted.has(segment.vni)) this.#close(segment, out);
    for (const [vni, rules] of wanted) {
      const open = this.#segments.get(vni);
      if (open === undefined) this.#open(new OwnedSegment(vni, rules), now, out);
      else open.rules = rules;
    }
  }

  /** Counts what the plan would show otherwise than before. */
  get revision(): number {
    let sum = 0;
    for (const { table } of this.#segments.values()) sum += table.revision;
    return sum;
  }

  /** The record map of a network: for each MAC its owner, reachable or not. */
  owners(vni: Vni): Map<Mac, Owner> {
    return new Map(this.#segments.get(vni)?.table.entries());
  }

  /** For the plan: what each host holds, where a MAC that is moving stays put until its move is announced. */
  holdings(vni: Vni): Iterable<readonly [PeerId, Holdings]> {
    return this.#segments.get(vni)?.table.holdings() ?? [];
  }

  /** Who has pinned an address, dead or alive. */
  claimants(vni: Vni, ip: Ip): readonly IpClaim[] {
    return this.#segments.get(vni)?.table.claimants(ip) ?? [];
  }

  /** For the plan: addresses that several MACs claim. */
  contested(vni: Vni): ReadonlyMap<Ip, readonly IpClaim[]> {
    return this.#segments.get(vni)?.table.contested() ?? new Map();
  }

  /** MACs that some host sees but stands back from, and those hosts. */
  duplicates(vni: Vni): ReadonlyMap<Mac, ReadonlySet<PeerId>> {
    return this.#segments.get(vni)?.duplicates ?? new Map();
  }

  pins(): readonly Pin[] {
    return this.#pins.all();
  }

  /** Pins a MAC to this host above every claim known, wherever it was: the only way a pinned MAC moves. Made durable in `PINS_FILE`. */
  pin(
    vni: Vni,
    mac: Mac,
    what: { readonly ips: readonly Ip[]; readonly name?: string },
    now: Millis,
    out: Outbox,
  ): PinResult {
    const segment = this.#segments.get(vni);
    const known = this.#pins.get(vni, mac);
    if (known !== undefined && known.ips.join() === what.ips.join() && known.name === what.name) {
      return segment === undefined ? "later" : "pinned";
    }
    const highest = segment?.table.highest(mac) ?? 0;
    const seq = Math.min(SEQUENCE_MAX, Math.max(highest, known?.seq ?? 0) + 1);
    const pin: Pin = { vni, mac, seq, ...what };
    if (!this.#pins.set(pin)) return "full";
    this.#savePins(out);
    if (segment === undefined) return "later";
    if (this.#claim(segment, recordOf(pin), now, out)) return "pinned";
    this.#pins.delete(vni, mac);
    this.#savePins(out);
    return "full";
  }

  /** Withdraws a pin; traffic may claim the MAC from then on. False when there was none. */
  unpin(vni: Vni, mac: Mac, now: Millis, out: Outbox): boolean {
    if (!this.#pins.delete(vni, mac)) return false;
    this.#savePins(out);
    const segment = this.#segments.get(vni);
    if (segment !== undefined) this.#withdraw(segment, mac, now, out);
    return true;
  }

  /** Forgets the pins of a network that is detached for good. */
  forget(vni: Vni, now: Millis, out: Outbox): void {
    for (const { mac } of this.#pins.of(vni)) this.unpin(vni, mac, now, out);
  }

  /**
   * Takes back what was claimed, or stood back from, because of traffic: frames that went round a loop came from everywhere. Whoever has
   * the MAC now claims it with its next frame; else it would stay where the loop left it for as long as a duplicate is frozen.
   */
  relearn(vni: Vni, now: Millis, out: Outbox): void {
    const segment = this.#segments.get(vni);
    if (segment === undefined) return;
    this.#moves.forget(vni);
    for (const mac of segment.macsOf(this.#self)) {
      if (segment.table.claim(mac, this.#self)?.kind === "pinned") continue;
      this.#frozen.delete(spotKey(vni, mac));
      segment.noteDuplicate(this.#self, mac, undefined);
      this.#withdraw(segment, mac, now, out);
    }
  }

  onEvent(event: MacEvent, now: Millis, out: Outbox): void {
    const segment = this.#segments.get(event.vni);
    if (segment === undefined) return;
    switch (event.on) {
      case "mac.learned":
      case "mac.conflict":
        if (event.at === "local") this.#seenHere(segment, event.mac, now, out);
        else this.#seenFrom(segment, event.at, event.mac, event.on, now, out);
        return;
      case "mac.aged":
        if (segment.table.claim(event.mac, this.#self)?.kind === "seen") this.#withdraw(segment, event.mac, now, out);
        return;
      case "mac.spoof":
        this.#spoof(segment, event.mac, now, out);
        return;
      case "macs.full":
        this.#full(segment, out);
        return;
      default:
        event satisfies never;
    }
  }

  handle(from: PeerId, message: OverlayMessage, now: Millis, out: Outbox): void {
    const amount = message.t === "claim" ? message.records.length : 1;
    if (!this.#messages.take(from, now, amount)) return;
    switch (message.t) {
      case "claim":
        this.#heardAll(from, message, now, out);
        return;
      case "claim-ack":
        this.#release(this.#claims.ack(from, message.id));
        return;
      case "claim-ask": {
        const segment = this.#segments.get(message.vni);
        if (segment !== undefined) this.#tell(from, segment, message.mac, out);
        return;
      }
      default:
        message satisfies never;
    }
  }

  notice(notice: Notice, now: Millis, out: Outbox): void {
    if (notice.kind !== "record" && notice.kind !== "owner.reset") return;
    const vni = vniOf(notice.scope);
    const segment = vni === undefined ? undefined : this.#segments.get(vni);
    // What this host wrote is in the table since it was written; its own notices may be older than that.
    if (segment === undefined || notice.owner === this.#self) return;
    if (notice.kind === "owner.reset") this.#reload(segment, notice.owner, now, out);
    else if (notice.type === "mac") this.#take(segment, notice.owner, notice.key as Mac, notice.value, now, out);
  }

  tick(now: Millis, out: Outbox): void {
    const { settled, unheard } = this.#claims.tick(now, out);
    for (const spot of settled) this.#release(spot);
    for (const record of unheard) this.#ledger.spread(record, out);
    for (const { vni, mac, peer } of this.#asks.take(now)) {
      const segment = this.#segments.get(vni);
      if (segment !== undefined && segment.table.owner(mac) === undefined) this.#asks.now(peer, vni, mac, now, out);
    }
    for (const { vni, mac, owner } of this.#ahead.take(now)) {
      const segment = this.#segments.get(vni);
      if (segment !== undefined) this.#reread(segment, owner, mac, now, out);
    }
    for (const key of this.#frozen.take(now)) this.#thaw(key, now, out);
  }

  deadline(): Deadline | undefined {
    const claims = earlier(this.#claims.deadline(), this.#asks.deadline());
    return earlier(claims, earlier(this.#ahead.deadline(), this.#frozen.next()));
  }

  #open(segment: OwnedSegment, now: Millis, out: Outbox): void {
    this.#segments.set(segment.vni, segment);
    for (const owner of [...this.#ledger.owners(segment.scope)]) {
      if (owner !== this.#self) this.#reload(segment, owner, now, out);
    }
    for (const pin of this.#pins.of(segment.vni)) this.#restore(segment, pin, now, out);
  }

  #close(segment: OwnedSegment, out: Outbox): void {
    for (const mac of segment.macsOf(this.#self)) {
      this.#claims.cancel(segment.vni, mac);
      this.#frozen.delete(spotKey(segment.vni, mac));
      this.#ledger.write(segment.scope, "mac", mac, undefined, out);
    }
    this.#segments.delete(segment.vni);
    this.#moves.forget(segment.vni);
  }

  /** A pin from before keeps its sequence: if the MAC was pinned elsewhere meanwhile, it stays there. */
  #restore(segment: OwnedSegment, pin: Pin, now: Millis, out: Outbox): void {
    const owner = segment.table.owner(pin.mac);
    const own: Claim = { peer: this.#self, seq: pin.seq, kind: "pinned", ips: pin.ips };
    if (owner !== undefined && !beats(own, owner)) this.#loseSaved(segment, pin, owner, out);
    else this.#claim(segment, recordOf(pin), now, out);
  }

  /** A frame under `mac` came out of this host's bridge, and the engine has no entry or another one. */
  #seenHere(segment: OwnedSegment, mac: Mac, now: Millis, out: Outbox): void {
    const owner = segment.table.owner(mac);
    if (owner?.peer === this.#self || segment.rules.pinnedOnly) return;
    if (owner !== undefined && !this.#mayMove(segment, mac, owner, now, out)) return;
    const seen = segment.table.countOf(this.#self) - this.#pins.of(segment.vni).length;
    if (seen >= this.#localMacs) {
      this.#full(segment, out);
      return;
    }
    const seq = Math.min(SEQUENCE_MAX, (owner?.seq ?? 0) + 1);
    const own: Claim = { peer: this.#self, seq, kind: "seen", ips: [] };
    if (owner === undefined || beats(own, owner)) this.#claim(segment, { mac, seq, kind: "seen", ips: [] }, now, out);
  }

  /** Whether traffic may move a MAC here: never a pinned one, and not for the fifth time. */
  #mayMove(segment: OwnedSegment, mac: Mac, owner: Claim, now: Millis, out: Outbox): boolean {
    if (owner.kind === "pinned") {
      this.#spoof(segment, mac, now, out);
      return false;
    }
    if (this.#frozen.has(spotKey(segment.vni, mac))) return false;
    const verdict = this.#moves.verdict(segment.vni, mac, now);
    if (verdict === "duplicate") this.#freeze(segment, mac, owner, now, out);
    if (verdict === "full") out.notices.push({ kind: "event", code: "limit", what: "moving MACs" });
    return verdict === "free";
  }

  /** A frame under `mac` came from a peer without a record of it, or against another host's. */
  #seenFrom(
    segment: OwnedSegment,
    peer: PeerId,
    mac: Mac,
    how: "mac.learned" | "mac.conflict",
    now: Millis,
    out: Outbox,
  ): void {
    const owner = segment.table.owner(mac);
    if (owner?.peer === peer) return;
    if (how === "mac.learned" && owner === undefined) this.#asks.later(peer, segment.vni, mac, now);
    else this.#asks.now(peer, segment.vni, mac, now, out);
  }

  /** The announcement of a move is over: the plan shows the MAC at its owner. */
  #release(spot: Spot | undefined): void {
    if (spot !== undefined) this.#segments.get(spot.vni)?.table.release(spot.mac);
  }

  /** Writes this host's claim and sends it straight to the segment's hosts; gossip has what moves, and what they do not all acknowledge. False when the replica refuses the record. */
  #claim(segment: OwnedSegment, record: MacRecord, now: Millis, out: Outbox): boolean {
    const { vni, table } = segment;
    const { mac } = record;
    const raw = macRecord(vni, record);
    const signed = this.#ledger.write(raw.scope, raw.type, raw.key, raw.value, out, "quiet");
    if (signed === undefined) {
      this.#full(segment, out);
      return false;
    }
    const owner = table.owner(mac);
    const moves = owner !== undefined && owner.peer !== this.#self;
    this.#frozen.delete(spotKey(vni, mac));
    segment.noteDuplicate(this.#self, mac, undefined);
    // A container starts with nothing held; a station that moved has frames waiting in the engine, which must not overtake the claim.
    const holds = moves && record.kind === "seen";
    const spot = { vni, mac, record: signed };
    const isSent = moves ? this.#claims.move(spot, holds, now, out) : this.#claims.begin(spot, now, out);
    if (moves || !isSent) this.#ledger.spread(signed, out);
    if (isSent && holds) table.hold(mac);
    else table.release(mac);
    this.#changed(segment, table.set(this.#self, record), now, out);
    return true;
  }

  /** Claims on the direct way. They are acknowledged even when they lose: they have arrived. */
  #heardAll(
    from: PeerId,
    { records, cert, id }: Extract<OverlayMessage, { t: "claim" }>,
    now: Millis,
    out: Outbox,
  ): void {
    const used = records.filter(record => this.#heard(from, record, cert, now, out));
    if (id !== undefined && used.length === records.length)
      out.controls.push({ to: from, message: { t: "claim-ack", id } });
  }

  /** False when nobody may believe it, or it is not for this host. */
  #heard(from: PeerId, bytes: Uint8Array, cert: Uint8Array | undefined, now: Millis, out: Outbox): boolean {
    const accepted = this.#ledger.accept(bytes, cert, out);
    if (accepted === undefined || accepted.owner === this.#self) return false;
    const vni = vniOf(accepted.scope);
    const segment = vni === undefined ? undefined : this.#segments.get(vni);
    const record = segment === undefined ? undefined : macOf(accepted);
    if (segment === undefined || record === undefined) return false;
    const { mac } = record;
    if (this.#ahead.add(segment.vni, mac, accepted, now)) this.#put(segment, accepted.owner, mac, record, now, out);
    const owner = segment.table.owner(mac);
    if (owner !== undefined && owner.peer !== accepted.owner && beats(owner, { ...record, peer: accepted.owner })) {
      this.#tell(from, segment, mac, out);
    }
    return true;
  }

  /** Sends the owner's own record: whoever has it can check it, whoever passes it on. */
  #tell(to: PeerId, segment: OwnedSegment, mac: Mac, out: Outbox): void {
    const owner = segment.table.owner(mac);
    if (owner === undefined || owner.peer === to) return;
    const signed = this.#ledger.signed(owner.peer, segment.scope, "mac", mac);
    if (signed !== undefined) out.controls.push({ to, message: claimMessage(signed) });
  }

  /** What the replica shows of one key, unless its owner has told us more than the replica has. */
  #take(segment: OwnedSegment, owner: PeerId, mac: Mac, value: Uint8Array | undefined, now: Millis, out: Outbox): void {
    if (this.#ahead.stands(segment.vni, mac, owner)) return;
    const record = value === undefined ? undefined : parseRecord(segment.scope, "mac", mac, value);
    this.#put(segment, owner, mac, record?.type === "mac" ? record : undefined, now, out);
  }

  #put(segment: OwnedSegment, owner: PeerId, mac: Mac, record: MacRecord | undefined, now: Millis, out: Outbox): void {
    segment.noteDuplicate(owner, mac, record);
    const change = record === undefined ? segment.table.delete(owner, mac) : segment.table.set(owner, record);
    this.#changed(segment, change, now, out);
  }

  #reload(segment: OwnedSegment, owner: PeerId, now: Millis, out: Outbox): void {
    const gone = new Set(segment.macsOf(owner));
    for (const { type, key, value } of [...this.#ledger.records(segment.scope, owner)]) {
      if (type !== "mac") continue;
      gone.delete(key as Mac);
      this.#take(segment, owner, key as Mac, value, now, out);
    }
    for (const mac of gone) this.#take(segment, owner, mac, undefined, now, out);
  }

  #reread(segment: OwnedSegment, owner: PeerId, mac: Mac, now: Millis, out: Outbox): void {
    const records = [...this.#ledger.records(segment.scope, owner)];
    const found = records.find(({ type, key }) => type === "mac" && key === mac);
    this.#take(segment, owner, mac, found?.value, now, out);
  }

  #changed(segment: OwnedSegment, change: OwnerChange, now: Millis, out: Outbox): void {
    const { mac, before, after } = change;
    const { vni, table } = segment;
    if (before?.peer !== after?.peer) {
      this.#moves.note(vni, mac, before?.peer, after?.peer, now);
      const isOurs = before?.peer === this.#self || after?.peer === this.#self;
      if (before !== undefined && after !== undefined && isOurs) {
        out.notices.push({ kind: "event", code: "mac.moved", vni, mac, to: after.peer });
      }
    }
    if (after !== undefined) this.#asks.spare(vni, mac);
    if (after !== undefined && before !== after) this.#tellDoubles(segment, after, mac, out);
    const own = table.claim(mac, this.#self);
    if (own !== undefined && after !== undefined && after.peer !== this.#self)
      this.#lose(segment, mac, own, after, now, out);
  }

  /** The other claim won: this host withdraws its own and does not repeat it. A frame of a seen MAC may start a move back, which is counted. */
  #lose(segment: OwnedSegment, mac: Mac, own: Claim, to: Claim, now: Millis, out: Outbox): void {
    const pin = this.#pins.get(segment.vni, mac);
    if (own.kind === "pinned" && pin !== undefined) this.#loseSaved(segment, pin, to, out);
    this.#withdraw(segment, mac, now, out);
  }

  /** Equal sequences were chosen at the same time: the MAC is really in two places, and the operator has to decide. */
  #loseSaved(segment: OwnedSegment, pin: Pin, to: Claim, out: Outbox): void {
    const { vni, mac } = pin;
    this.#pins.delete(vni, mac);
    this.#savePins(out);
    if (to.seq === pin.seq)
      out.notices.push({ kind: "event", code: "mac.duplicate", vni: segment.vni, mac, peer: to.peer });
  }

  #withdraw(segment: OwnedSegment, mac: Mac, now: Millis, out: Outbox): void {
    this.#claims.cancel(segment.vni, mac);
    this.#ledger.write(segment.scope, "mac", mac, undefined, out);
    this.#changed(segment, segment.table.delete(this.#self, mac), now, out);
    segment.table.release(mac);
    segment.isFull = false;
  }

  /** This host has had enough: it lets the MAC be where it is, and says so. */
  #freeze(segment: OwnedSegment, mac: Mac, owner: Claim, now: Millis, out: Outbox): void {
    const { vni } = segment;
    this.#frozen.set(spotKey(vni, mac), now + FREEZE_MS, "mac thaw");
    const record: MacRecord = { mac, seq: owner.seq, kind: "seen", ips: [], duplicateForS: FREEZE_MS / 1_000 };
    const raw = macRecord(vni, record);
    if (this.#ledger.write(raw.scope, raw.type, raw.key, raw.value, out) !== undefined) {
      segment.noteDuplicate(this.#self, mac, record);
    }
    out.notices.push({ kind: "event", code: "mac.duplicate", vni, mac, peer: owner.peer });
  }

  #thaw(key: string, now: Millis, out: Outbox): void {
    const { vni, mac } = spotOf(key);
    const segment = this.#segments.get(vni);
    if (segment === undefined || !segment.duplicates.get(mac)?.has(this.#self)) return;
    segment.noteDuplicate(this.#self, mac, undefined);
    this.#withdraw(segment, mac, now, out);
  }

  #tellDoubles(segment: OwnedSegment, claim: Claim, mac: Mac, out: Outbox): void {
    for (const ip of claim.kind === "pinned" ? claim.ips : []) {
      const claims = segment.table.contested().get(ip);
      if (claims === undefined || !claims.some(other => other.mac === mac)) continue;
      const peers = [...new Set(claims.map(other => other.peer))];
      out.notices.push({ kind: "event", code: "ip.duplicate", vni: segment.vni, ip, peers });
    }
  }

  /** The engine dropped it; the operator hears of it, but not at the rate of the attacker. */
  #spoof(segment: OwnedSegment, mac: Mac, now: Millis, out: Outbox): void {
    const key = spotKey(segment.vni, mac);
    this.#spoofs.take(now);
    if (this.#spoofs.has(key) || this.#spoofs.size >= SPOOFS_MAX) return;
    this.#spoofs.set(key, now + SPOOF_INTERVAL_MS, "spoof told");
    out.notices.push({ kind: "event", code: "mac.spoof", vni: segment.vni, mac });
  }

  #full(segment: OwnedSegment, out: Outbox): void {
    if (segment.isFull) return;
    segment.isFull = true;
    out.notices.push({ kind: "event", code: "macs.full", vni: segment.vni });
  }

  #savePins(out: Outbox): void {
    out.writes.push({ file: PINS_FILE, bytes: this.#pins.encode() });
  }
}

function recordOf(pin: Pin): MacRecord {
  const { mac, seq, ips, name } = pin;
  return { mac, seq, kind: "pinned", ips, name };
}

function macOf(accepted: AcceptedRecord): MacRecord | undefined {
  const { scope, type, key, value } = accepted;
  const record = value === undefined ? undefined : parseRecord(scope, type, key, value);
  return record?.type === "mac" ? record : undefined;
}

/** The certificate goes along where both fit one datagram; a receiver that knows the owner needs none. */
function claimMessage(signed: SignedBytes): OverlayMessage {
  const { record, cert } = signed;
  const plain = { t: "claim", records: [record] } as const;
  if (cert === undefined) return plain;
  const whole = { ...plain, cert };
  return controlLength(whole) <= CONTROL_BYTES_MAX ? whole : plain;
}
