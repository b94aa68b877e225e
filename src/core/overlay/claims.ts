/** Claims on their way to the hosts of a segment: sent at once, resent until acknowledged, then left to gossip. */

import type { Mac, PeerId, Vni } from "../../wire/ids.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "../machine.ts";
import { Agenda } from "./agenda.ts";
import { CLAIM_RESEND_MS, CLAIM_RESENDS, CLAIM_SETTLE_MS, CLAIMS_PENDING_MAX, FRESH_CLAIMS_PER_S } from "./limits.ts";
import { Rate } from "./rate.ts";
import { type Spot, spotKey, spotOf } from "./spot.ts";

interface Pending {
  readonly seq: number;
  readonly record: Uint8Array;
  readonly unacked: Set<PeerId>;
  resendsLeft: number;
}

export class Claims {
  readonly #pending = new Map<string, Pending>();
  readonly #resend = new Agenda();
  /** Moves whose frames an engine holds until the claim has arrived or this time has come. */
  readonly #settle = new Agenda();
  readonly #fresh = new Rate<"all">(FRESH_CLAIMS_PER_S);

  /**
   * Sends a signed record to `hosts`. False when it is left to gossip: too much is under way, or, for a MAC that nobody held, too much was sent this second.
   * With `holds` the spot is reported as settled once, by `ack` or `tick`.
   */
  send(
    spot: Spot & { readonly seq: number; readonly record: Uint8Array },
    hosts: readonly PeerId[],
    how: { readonly moves: boolean; readonly holds: boolean },
    now: Millis,
    out: Outbox,
  ): boolean {
    const key = spotKey(spot.vni, spot.mac);
    this.cancel(spot.vni, spot.mac);
    if (hosts.length === 0 || this.#pending.size >= CLAIMS_PENDING_MAX) return false;
    if (!how.moves && !this.#fresh.take("all", now, hosts.length)) return false;
    this.#pending.set(key, { seq: spot.seq, record: spot.record, unacked: new Set(hosts), resendsLeft: CLAIM_RESENDS });
    this.#resend.set(key, now + CLAIM_RESEND_MS);
    if (how.holds) this.#settle.set(key, now + CLAIM_SETTLE_MS);
    for (const to of hosts) out.controls.push({ to, message: { t: "claim", record: spot.record } });
    return true;
  }

  /** True when this was the last acknowledgement a held MAC waited for. */
  ack(from: PeerId, vni: Vni, mac: Mac, seq: number): boolean {
    const key = spotKey(vni, mac);
    const pending = this.#pending.get(key);
    if (pending === undefined || pending.seq !== seq || !pending.unacked.delete(from)) return false;
    if (pending.unacked.size > 0) return false;
    this.#end(key);
    return this.#settle.delete(key);
  }

  cancel(vni: Vni, mac: Mac): void {
    const key = spotKey(vni, mac);
    this.#end(key);
    this.#settle.delete(key);
  }

  /** Resends what is due to those of `hosts` that have not answered, and returns the spots that have waited long enough. */
  tick(hosts: (vni: Vni) => readonly PeerId[], now: Millis, out: Outbox): Spot[] {
    for (const key of this.#resend.take(now)) this.#again(key, hosts(spotOf(key).vni), now, out);
    return this.#settle.take(now).map(spotOf);
  }

  deadline(): Deadline | undefined {
    const resend = this.#resend.next();
    const settle = this.#settle.next();
    return earlier(
      resend === undefined ? undefined : { at: resend, why: "claim resend" },
      settle === undefined ? undefined : { at: settle, why: "claim settle" },
    );
  }

  /** Hosts that are no longer of the segment, or dead, are not waited for. */
  #again(key: string, hosts: readonly PeerId[], now: Millis, out: Outbox): void {
    const pending = this.#pending.get(key)!;
    const left = hosts.filter(host => pending.unacked.has(host));
    if (left.length === 0 || pending.resendsLeft === 0) {
      this.#end(key);
      return;
    }
    pending.resendsLeft -= 1;
    this.#resend.set(key, now + CLAIM_RESEND_MS);
    for (const to of left) out.controls.push({ to, message: { t: "claim", record: pending.record } });
  }

  #end(key: string): void {
    this.#pending.delete(key);
    this.#resend.delete(key);
  }
}
