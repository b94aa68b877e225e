/**
 * The whole control plane of one host behind one set of inputs. Without a cluster there is only the keeper of identities; with one there
 * is a `Member`. Each input goes to one machine, each notice to all of them, and the plan follows at the end.
 */

import type { Crypto, Rng } from "../crypto/crypto.ts";
import type { EngineCommand, EngineEvent } from "../engine/engine.ts";
import { type ControlMessage, decodeControl } from "../wire/control.ts";
import { type Endpoint, type Ip, isStationMac, type Mac, type PeerId } from "../wire/ids.ts";
import { directoryOf } from "./directory.ts";
import { Farewell } from "./farewell.ts";
import { parseName } from "./identity/certificate.ts";
import { IDENTITY_FILES, type Identity, loadIdentityState } from "./identity/identity.ts";
import type { JoinFailure } from "./identity/joiner.ts";
import type { BootstrapMember } from "./identity/joinMessages.ts";
import { Keeper } from "./identity/keeper.ts";
import type { HandoverOutcome } from "./identity/keyHandover.ts";
import { parseToken } from "./identity/token.ts";
import type { TokenView } from "./identity/tokenBook.ts";
import { LocalNetworks, type NetworkWish } from "./localNetworks.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "./machine.ts";
import { type EngineAbilities, Member } from "./member.ts";
import type { Notice } from "./notice.ts";
import { IPS_MAX, PINS_MAX } from "./overlay/limits.ts";
import type { LocalAttachment, LocalWishes } from "./overlay/local.ts";
import { findNetwork } from "./overlay/networks.ts";
import { isLabel, isNetworkName, type NetworkDefinition } from "./overlay/records.ts";
import { Refusal } from "./refusal.ts";
import { type Files, MEMBER_FILES, type MemberState, memberState, NO_STATE, StateFault } from "./stateFiles.ts";

/** Notices that cause notices: a chain longer than this is a mistake in a machine. */
const NOTICES_MAX = 100_000;

export interface NodeOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  /** Unix seconds. */
  readonly wall: () => number;
  /** What the state directory holds, by file name. */
  readonly files: Files;
  readonly engine: EngineAbilities;
  readonly version: string;
  readonly localMacs: number;
  /** `decodeControl`, where hosts that share a process do not share what they read. */
  readonly decode?: (body: Uint8Array) => ControlMessage | undefined;
}

export type JoinResult = { readonly joined: Identity } | { readonly failed: JoinFailure | "already-member" | "busy" };

export class Node {
  readonly keeper: Keeper;
  readonly #options: NodeOptions;
  #networks: LocalNetworks;
  /** What a member will be made from. */
  #state: MemberState;
  #bootstrap: readonly BootstrapMember[] = [];
  #member: Member | undefined;
  #advertised: readonly Endpoint[] = [];
  #farewell: Farewell | undefined;
  /** The door's keys while there is no member: the joiner's, if it is under way. */
  #joinDoor: Uint8Array | undefined;

  /** Throws StateFault for a file that is damaged: the operator decides, not the daemon. */
  constructor(options: NodeOptions) {
    this.#options = options;
    const { files, crypto } = options;
    const loaded = loadIdentityState(crypto, {
      identity: files.get(IDENTITY_FILES.identity),
      issuer: files.get(IDENTITY_FILES.issuer),
      tokens: files.get(IDENTITY_FILES.tokens),
      revocations: files.get(IDENTITY_FILES.revocations),
    });
    if ("fault" in loaded) throw new StateFault(IDENTITY_FILES[loaded.fault.file], loaded.fault.why);
    const directory = directoryOf(() => this.#member);
    this.keeper = new Keeper({ ...options, directory, state: loaded.state });
    this.#state = loaded.state === undefined ? NO_STATE : memberState(files);
    this.#networks = new LocalNetworks(this.#state.wishes);
  }

  /** A new life: before anything else, and durable before the first packet. `advertised` are this host's own addresses. */
  start(advertised: readonly Endpoint[], now: Millis, out: Outbox): void {
    this.#advertised = advertised;
    if (this.self === undefined) this.#clearLeftovers(out);
    this.keeper.vault.reboot(this.#options.rng, out);
    if (!this.keeper.vault.isMember) out.commands.push(this.#closedDoor());
    this.settle(now, out);
  }

  // inputs

  /** One of the events that the engine reports together: `settle` closes the turn behind the last of them. */
  event(event: EngineEvent, now: Millis, out: Outbox): void {
    if (event.on === "control") this.#onControl(event.from, event.body, now, out);
    else if (event.on === "handshake") this.#onHandshake(event.from, event.bytes, now, out);
    else this.#member?.event(event, now, out);
    this.#spread(now, out);
  }

  /** The end of a turn: the plan follows what was heard in it, and what is to be sent goes to peers with a session. */
  settle(now: Millis, out: Outbox): void {
    for (;;) {
      this.#spread(now, out);
      this.#member?.settle(now, out);
      if (out.offered === out.notices.length) return;
    }
  }

  tick(now: Millis, out: Outbox): void {
    this.keeper.tick(now, out);
    this.#member?.tick(now, out);
    this.#tickFarewell(now, out);
    this.settle(now, out);
  }

  deadline(): Deadline | undefined {
    return earlier(this.keeper.deadline(), earlier(this.#member?.deadline(), this.#farewell?.deadline()));
  }

  /** The host's addresses have changed. */
  advertise(endpoints: readonly Endpoint[], now: Millis, out: Outbox): void {
    this.#advertised = endpoints;
    this.#member?.publishHost(out);
    this.settle(now, out);
  }

  /** The engine was replaced: it holds no keys and no tables. */
  engineRestarted(now: Millis, out: Outbox): void {
    if (this.#member === undefined) out.commands.push(this.#closedDoor());
    else this.#member.engineRestarted(now, out);
    this.settle(now, out);
  }

  // reading

  get standing(): "idle" | "joining" | "member" | "evicted" {
    const { standing } = this.keeper.vault;
    return standing === "idle" && this.keeper.joiner.busy ? "joining" : standing;
  }

  get member(): Member | undefined {
    return this.#member;
  }

  get self(): PeerId | undefined {
    return this.keeper.vault.identity?.host;
  }

  get wishes(): LocalWishes {
    return this.#networks.wishes;
  }

  get advertised(): readonly Endpoint[] {
    return this.#member?.endpoints() ?? this.#advertised;
  }

  /** The host an operator means; throws Refusal for none and for several. */
  hostOf(text: string): PeerId {
    const found = this.#present().hosts.find(text);
    const [only] = found;
    if (only === undefined) throw new Refusal("host-unknown", { host: text });
    if (found.length > 1) throw new Refusal("host-ambiguous", { host: text, ids: found.join(", ") });
    return only;
  }

  // operator commands: each throws Refusal and then has changed nothing

  init(names: { readonly cluster: string; readonly host: string }, now: Millis, out: Outbox): Identity {
    this.#requireIdle();
    const identity = this.keeper.issuer.init({ cluster: nameOf(names.cluster), host: labelOf(names.host) }, out);
    this.settle(now, out);
    return identity;
  }

  /** `done` hears the outcome once; it may take a minute. */
  join(
    wish: { readonly token: string; readonly endpoints: readonly Endpoint[]; readonly host: string },
    now: Millis,
    out: Outbox,
    done: (result: JoinResult) => void,
  ): void {
    this.#requireIdle();
    const token = parseToken(this.#options.crypto, wish.token);
    if (token === undefined) throw new Refusal("token-wrong");
    this.keeper.join({ token, endpoints: wish.endpoints, name: labelOf(wish.host) }, now, out, outcome => {
      if ("joined" in outcome) this.#bootstrap = outcome.members;
      done(outcome);
    });
    this.settle(now, out);
  }

  /** Says farewell and forgets the cluster a moment later (notice `identity` `left`). Attachments are to be detached before. */
  leave(now: Millis, out: Outbox): void {
    const isEvicted = this.standing === "evicted";
    const farewell = isEvicted ? undefined : this.#present().replica.leave(out);
    if (farewell !== undefined) this.#farewell = new Farewell(farewell.bytes, this.#present().membership.alive(), now);
    else this.#forget(out);
    this.#tickFarewell(now, out);
    this.settle(now, out);
  }

  createToken(
    terms: { readonly ttlS: number; readonly uses: number },
    out: Outbox,
  ): { token: string; view: TokenView } {
    this.#present();
    const made = this.keeper.issuer.createToken(terms, this.advertised, out);
    if (!("failed" in made)) return made;
    if (made.failed === "not-issuer") throw this.#notIssuer();
    throw new Refusal("usage", {
      problem: "a token is good for 1 second to 366 days and 1 to 4,096 uses, and an issuer keeps 1,000 tokens",
    });
  }

  tokens(): readonly TokenView[] {
    this.#present();
    if (!this.keeper.issuer.active) throw this.#notIssuer();
    return this.keeper.issuer.tokens();
  }

  revokeToken(id: string, out: Outbox): void {
    this.#present();
    if (!this.keeper.issuer.active) throw this.#notIssuer();
    if (!this.keeper.issuer.revokeToken(id, out)) throw new Refusal("token-unknown", { token: id });
  }

  createNetwork(wish: NetworkWish, now: Millis, out: Outbox): NetworkDefinition {
    const member = this.#present();
    const isNew = findNetwork(member.networks(), wish.name) === undefined;
    const made = this.#networks.create(wish, member.scene(), out);
    member.networksChanged(now, out);
    if (isNew) member.ipam.found(made.vni, now, out);
    this.settle(now, out);
    return made;
  }

  removeNetwork(name: string, now: Millis, out: Outbox): void {
    const member = this.#present();
    this.#networks.remove(name, member.scene(), out);
    member.networksChanged(now, out);
    this.settle(now, out);
  }

  /** What an attachment to the network would be: its definition. */
  prepareAttach(name: string): { readonly definition: NetworkDefinition; readonly self: PeerId } {
    const member = this.#present();
    return { definition: this.#networks.prepare(name, member.scene()), self: member.self };
  }

  attach(attachment: LocalAttachment, now: Millis, out: Outbox): void {
    const member = this.#present();
    this.#networks.attach(attachment, member.scene(), out);
    member.attachmentsChanged(now, out);
    this.settle(now, out);
  }

  detach(name: string, now: Millis, out: Outbox): LocalAttachment {
    const member = this.#present();
    const gone = this.#networks.detach(name, member.scene(), out);
    member.attachmentsChanged(now, out);
    member.ownership.forget(gone.vni, now, out);
    this.settle(now, out);
    return gone;
  }

  /** This host's attachment to a network; throws Refusal where there is none. */
  attachment(network: string): LocalAttachment {
    const member = this.#present();
    const found = this.#networks.attachments.find(each => each.network === network);
    if (found !== undefined) return found;
    if (findNetwork(member.networks(), network) === undefined) throw new Refusal("network-unknown", { network });
    throw new Refusal("not-attached", { network });
  }

  /** Carries out what a member can do and this class has no word for: addresses, names. */
  use<T>(action: (member: Member) => T, now: Millis, out: Outbox): T {
    const result = action(this.#present());
    this.settle(now, out);
    return result;
  }

  pin(network: string, mac: Mac, ips: readonly Ip[], now: Millis, out: Outbox, name?: string): void {
    const { vni } = this.attachment(network);
    if (!isStationMac(mac)) throw new Refusal("usage", { problem: `${mac} is not the address of one station` });
    if (name !== undefined && !isNetworkName(name))
      throw new Refusal("usage", {
        problem: `'${name}' is no endpoint's name: up to 63 letters, digits, '_', '.' and '-'`,
      });
    const unique = [...new Set(ips)];
    if (unique.length > IPS_MAX) throw new Refusal("limit", { what: "addresses of one MAC", max: IPS_MAX });
    const member = this.#present();
    const pinned = { ips: unique, ...(name !== undefined && { name }) };
    if (member.ownership.pin(vni, mac, pinned, now, out) === "full")
      throw new Refusal("limit", { what: "pinned MACs", max: PINS_MAX });
    member.pinsChanged();
    this.settle(now, out);
  }

  unpin(network: string, mac: Mac, now: Millis, out: Outbox): void {
    const { vni } = this.attachment(network);
    const member = this.#present();
    if (!member.ownership.unpin(vni, mac, now, out))
      throw new Refusal("usage", { problem: `${mac} is not pinned here in ${network}` });
    member.pinsChanged();
    this.settle(now, out);
  }

  /** Tells whether the host had the CA key: then the operator has more to do. */
  evict(host: PeerId, now: Millis, out: Outbox): { readonly heldCaKey: boolean } {
    const known = this.#present().hosts.get(host);
    const outcome = this.keeper.issuer.evict(host, out);
    this.settle(now, out);
    if (!("failed" in outcome)) return { heldCaKey: outcome.heldCaKey || known?.record?.issuer === true };
    if (outcome.failed === "not-issuer") throw this.#notIssuer();
    if (outcome.failed === "self")
      throw new Refusal("usage", { problem: "a host does not evict itself: use 'overlayd leave'" });
    throw new Refusal("host-unknown", { host });
  }

  /** `done` hears whether the host holds the CA key now. */
  addIssuer(host: PeerId, now: Millis, out: Outbox, done: (refusal: Refusal | undefined) => void): void {
    this.#present();
    const peer = this.#present().hosts.label(host);
    this.keeper.handover.add(host, now, out, outcome => done(this.#handoverRefusal(outcome, peer)));
    this.settle(now, out);
  }

  /** The CA's seed, to be encrypted by the caller at once. */
  exportCa(): Uint8Array {
    this.#present();
    const key = this.keeper.issuer.exportKey();
    if (key === undefined) throw this.#notIssuer();
    return key;
  }

  /** False when the key is another cluster's. */
  importCa(seed: Uint8Array, now: Millis, out: Outbox): boolean {
    this.#present();
    const taken = this.keeper.issuer.importKey(seed, out);
    this.settle(now, out);
    return taken;
  }

  // inside

  #onControl(from: PeerId, body: Uint8Array, now: Millis, out: Outbox): void {
    const message = (this.#options.decode ?? decodeControl)(body);
    if (message !== undefined) this.#member?.control(from, message, now, out);
  }

  #onHandshake(from: Endpoint, bytes: Uint8Array, now: Millis, out: Outbox): void {
    this.#member?.sessions.onHandshake(from, bytes, now, out);
    this.keeper.onHandshake(from, bytes, now, out);
  }

  /** Offers each notice to every machine, and makes and drops the member as the identity comes and goes. */
  #spread(now: Millis, out: Outbox): void {
    do {
      this.#follow(now, out);
      this.#offer(now, out);
      this.#member?.meet(now, out);
    } while (out.offered < out.notices.length);
  }

  #offer(now: Millis, out: Outbox): void {
    while (out.offered < out.notices.length) {
      if (out.offered >= NOTICES_MAX) throw new Error("notices without end");
      const notice: Notice = out.notices[out.offered++]!;
      this.keeper.notice(notice, now, out);
      // A revocation among the records ends the membership: nothing more is told to a member that is none.
      this.#follow(now, out);
      this.#member?.notice(notice, now, out);
    }
  }

  /** The member exists exactly while this host is one. */
  #follow(now: Millis, out: Outbox): void {
    const { isMember, identity } = this.keeper.vault;
    if (isMember && this.#member === undefined) this.#enter(identity!, now, out);
    if (!isMember && this.#member !== undefined) this.#quit(now, out);
    if (this.#member === undefined && this.keeper.joiner.mac1Key !== this.#joinDoor)
      out.commands.push(this.#closedDoor());
  }

  #enter(identity: Identity, now: Millis, out: Outbox): void {
    const state = this.#state;
    this.#member = new Member(identity, {
      ...this.#options,
      keeper: this.keeper,
      networks: this.#networks,
      state,
      advertised: () => this.#advertised,
    });
    this.#member.start({ peersFile: state.peersFile, bootstrap: this.#bootstrap }, now, out);
    this.#bootstrap = [];
    this.#state = NO_STATE;
  }

  #quit(now: Millis, out: Outbox): void {
    this.#member?.close(this.standing === "evicted" ? "evicted" : "left", now, out);
    this.#member = undefined;
    this.#farewell = undefined;
    out.commands.push(this.#closedDoor());
  }

  /** Closed to members; open to the answers of the issuer that this host asks to join. */
  #closedDoor(): EngineCommand {
    const { rng } = this.#options;
    this.#joinDoor = this.keeper.joiner.mac1Key;
    return {
      do: "admission.set",
      mac1: undefined,
      mac1Join: this.#joinDoor,
      cookieSecret: rng(32),
      loopKey: rng(32),
      self: this.self ?? NOBODY,
    };
  }

  #tickFarewell(now: Millis, out: Outbox): void {
    if (this.#farewell?.tick(now, out) === true) this.#forget(out);
  }

  #forget(out: Outbox): void {
    this.#farewell = undefined;
    this.keeper.leave(out);
    this.#networks = new LocalNetworks(NO_STATE.wishes);
    this.#state = NO_STATE;
    for (const file of MEMBER_FILES) out.writes.push({ file, bytes: undefined });
  }

  /** A leave that was interrupted has taken the identity and nothing else: the next cluster must not inherit the rest. */
  #clearLeftovers(out: Outbox): void {
    for (const file of MEMBER_FILES) if (this.#options.files.has(file)) out.writes.push({ file, bytes: undefined });
  }

  #requireIdle(): void {
    const { identity } = this.keeper.vault;
    if (identity !== undefined) throw new Refusal("already-member", { cluster: identity.cluster.name });
    if (this.keeper.joiner.busy) throw new Refusal("usage", { problem: "a join is under way" });
  }

  #present(): Member {
    if (this.standing === "evicted") throw new Refusal("evicted");
    if (this.#member === undefined || this.#farewell !== undefined) throw new Refusal("not-member");
    return this.#member;
  }

  #handoverRefusal(outcome: HandoverOutcome, peer: string): Refusal | undefined {
    switch (outcome) {
      case "ok":
        return undefined;
      case "not-issuer":
        return this.#notIssuer();
      case "host-unknown":
        return new Refusal("host-unknown", { host: peer });
      case "busy":
        return new Refusal("usage", { problem: `the CA key is on its way to ${peer} already` });
      case "timeout":
        return new Refusal("peer-unreachable", { peer });
    }
  }

  #notIssuer(): Refusal {
    const member = this.#member;
    const issuers = [...(member?.catalogue.hosts() ?? [])]
      .filter(([, card]) => card.issuer)
      .map(([host]) => member!.hosts.label(host));
    return new Refusal("not-issuer", { issuers: issuers.join(", ") || "none that is known" });
  }
}

/** Stands for this host while it has no identity. */
const NOBODY = "00000000000000000000000000000000" as PeerId;

function nameOf(text: string): string {
  const name = parseName(text);
  if (name === undefined)
    throw new Refusal("usage", {
      problem: `'${text}' is no cluster name: up to 63 letters, digits, inner hyphens and dots`,
    });
  return name;
}

/** Hosts are labels: they stand in tables and, later, in DNS names. */
function labelOf(text: string): string {
  const name = parseName(text);
  if (name !== undefined && isLabel(name)) return name;
  throw new Refusal("usage", { problem: `'${text}' is no host name: 1 to 63 letters, digits and inner hyphens` });
}
