/** What runs while this host is in a cluster: sessions, membership, replica, overlay. Routes each input to its machine, and keeps this host's own records. */

import type { Crypto, Rng } from "../crypto/crypto.ts";
import type { EngineEvent } from "../engine/engine.ts";
import { toHex } from "../wire/bytes.ts";
import type { ControlMessage } from "../wire/control.ts";
import type { Endpoint, PeerId } from "../wire/ids.ts";
import type { StateSummary } from "../wire/messages/membership.ts";
import type { OverlayMessage } from "../wire/messages/overlay.ts";
import { clusterOf, poolUses } from "./addressing.ts";
import { Hosts } from "./hosts.ts";
import type { Identity } from "./identity/identity.ts";
import type { BootstrapMember } from "./identity/joinMessages.ts";
import type { Keeper } from "./identity/keeper.ts";
import { Ipam } from "./ipam/ipam.ts";
import { BLOCK_TYPE } from "./ipam/record.ts";
import { sameList } from "./lists.ts";
import type { LocalNetworks, NetworkScene } from "./localNetworks.ts";
import { type Deadline, earlier, type Millis, type Outbox } from "./machine.ts";
import { Membership } from "./membership/membership.ts";
import { DockerNetworks } from "./naming/docker.ts";
import { Names } from "./naming/names.ts";
import type { Notice } from "./notice.ts";
import { Catalogue } from "./overlay/catalogue.ts";
import { type Ledger, replicaLedger } from "./overlay/ledger.ts";
import { ENDPOINTS_MAX } from "./overlay/limits.ts";
import { Loops } from "./overlay/loops.ts";
import type { NetworkView } from "./overlay/networks.ts";
import { Ownership } from "./overlay/ownership.ts";
import { hostRecord, type RawRecord, revocationRecord, scopeOf, vniOf } from "./overlay/records.ts";
import { Planner } from "./planner.ts";
import { Gossip } from "./replica/gossip.ts";
import { LEFT_TYPE } from "./replica/record.ts";
import { Replica } from "./replica/replica.ts";
import type { SessionIdentity } from "./session/context.ts";
import { Sessions } from "./session/sessions.ts";
import type { MemberState } from "./stateFiles.ts";
import { Strangers } from "./strangers.ts";

/** What the engine that carries this host's frames can do. */
export interface EngineAbilities {
  readonly kind: string;
  readonly ciphers: SessionIdentity["ciphers"];
  readonly queues: number;
  readonly partialChecksum: boolean;
}

export interface MemberOptions {
  readonly crypto: Crypto;
  readonly rng: Rng;
  readonly wall: () => number;
  readonly keeper: Keeper;
  readonly networks: LocalNetworks;
  /** What this host kept of its last life. */
  readonly state: Pick<MemberState, "pins" | "addresses" | "names" | "docker">;
  readonly engine: EngineAbilities;
  readonly version: string;
  readonly localMacs: number;
  /** Addresses of this host as the daemon found them or the operator gave them. */
  readonly advertised: () => readonly Endpoint[];
}

export class Member {
  readonly self: PeerId;
  readonly hosts: Hosts;
  readonly sessions: Sessions;
  readonly membership: Membership;
  readonly replica: Replica;
  readonly catalogue: Catalogue;
  readonly ownership: Ownership;
  readonly loops: Loops;
  readonly ipam: Ipam;
  readonly names: Names;
  readonly docker: DockerNetworks;
  readonly #gossip: Gossip;
  readonly #options: MemberOptions;
  readonly #ledger: Ledger;
  readonly #planner: Planner;
  /** Hosts that said farewell in this turn. */
  readonly #departed = new Set<PeerId>();
  readonly #strangers = new Strangers();
  /** Whoever waits for a time. */
  readonly #timed: readonly { deadline(): Deadline | undefined }[];
  /** Something was heard or seen of who owns a MAC, and what of it was planned at once last. */
  #ownersMoved = false;
  #plannedOwners = 0;
  /** Where this host's card says that it is. */
  #published: readonly Endpoint[] = [];

  constructor(identity: Identity, options: MemberOptions) {
    const { crypto, rng, keeper } = options;
    this.#options = options;
    this.self = identity.host;
    this.hosts = new Hosts(crypto, keeper.vault);
    this.sessions = new Sessions({
      self: this.self,
      crypto,
      rng,
      identity: () => this.#sessionIdentity(),
      peers: this.hosts,
      boot: { counter: identity.boot.counter, id: identity.boot.random },
    });
    this.replica = new Replica({
      self: this.self,
      crypto,
      signKey: () => this.#identity.keys.signSeed,
      incarnation: identity.boot.counter,
      raiseIncarnation: (incarnation, out) => keeper.vault.reboot(rng, out, incarnation),
      certificateOf: owner => this.#certificateOf(owner),
      admit: certificate => this.hosts.learn(certificate),
    });
    this.#gossip = new Gossip({
      replica: this.replica,
      rng,
      shares: (peer, scope) => this.catalogue.isAttached(peer, vniOf(scope)),
      holders: scope => this.#holders(scope),
      word: owner => this.membership.word(owner),
    });
    this.membership = new Membership({
      self: this.self,
      crypto,
      rng,
      boot: () => this.#identity.boot.counter,
      signKey: () => this.#identity.keys.signSeed,
      publicKey: peer => this.hosts.get(peer)?.certificate.signKey,
      summary: peer => this.#summary(peer),
      heardOf: () => this.hosts.size,
      connected: peer => this.sessions.isUp(peer),
      connect: (peer, now, out) => this.sessions.connect(peer, now, out),
    });
    this.#ledger = replicaLedger(this.replica);
    this.catalogue = new Catalogue({ crypto, source: this.#ledger });
    this.ownership = new Ownership({
      self: this.self,
      rng,
      ledger: this.#ledger,
      hosts: vni => this.#planner.current.segments.get(vni)?.flood ?? [],
      pins: options.state.pins,
      localMacs: options.localMacs,
    });
    this.loops = new Loops({ self: this.self });
    const { self, catalogue, ownership, loops } = this;
    this.#planner = new Planner({ self, catalogue, ownership, loops, local: options.networks });
    this.names = new Names(this.replica, options.state.names);
    this.docker = new DockerNetworks(this.replica, options.state.docker);
    this.ipam = new Ipam({
      cluster: clusterOf(this, options),
      state: options.state.addresses,
      uses: () => poolUses(options.networks),
      publish: (key, value, out) => this.#write({ scope: "", type: BLOCK_TYPE, key, value }, out),
    });
    const { sessions, membership, hosts, ipam } = this;
    this.#timed = [sessions, membership, this.#gossip, ownership, loops, hosts, ipam, this.#planner, this.#strangers];
  }

  /** Takes up what was known before: hosts of the last life or of the join, and this host's own statements. */
  start(
    known: { readonly peersFile?: Uint8Array | undefined; readonly bootstrap?: readonly BootstrapMember[] },
    now: Millis,
    out: Outbox,
  ): void {
    const { vault } = this.#options.keeper;
    for (const revoked of vault.revocations.hosts()) this.replica.dropOwner(revoked, out);
    if (known.peersFile !== undefined) this.hosts.load(known.peersFile);
    for (const { certificate, endpoints } of known.bootstrap ?? []) {
      const learned = this.hosts.learn(certificate);
      if (learned !== undefined) this.hosts.hint(learned.host, endpoints);
    }
    this.hosts.learn(this.#identity.certificateBytes);
    for (const { vni } of this.#options.networks.attachments) this.replica.holdScope(scopeOf(vni));
    this.publishHost(out);
    this.#options.networks.publish(this.scene(), out);
    this.#publishRevocations(out);
    for (const { vni } of this.#options.networks.attachments) this.names.publish(vni, out);
    this.docker.publish(out);
    this.ipam.start(now, out);
    out.commands.push(this.sessions.admission());
    this.meet(now, out);
  }

  /** Sealed controls. */
  control(from: PeerId, message: ControlMessage, now: Millis, out: Outbox): void {
    switch (message.t) {
      case "ping":
      case "ack":
      case "ping-req":
      case "ping-res":
      case "rumors":
      case "vouch-ask":
      case "vouch":
        return this.membership.handle(from, message, now, out);
      case "digest":
      case "owners":
      case "pull":
      case "delta":
        return this.#gossip.handle(from, message, now, out);
      case "observed":
        this.sessions.handle(from, message, now, out);
        // Every new session brings one, and hardly any says anything new.
        return sameList(this.#published, this.endpoints()) ? undefined : this.publishHost(out);
      case "punch-ask":
      case "punch":
        return this.sessions.handle(from, message, now, out);
      case "claim":
      case "claim-ack":
      case "claim-ask":
        return this.#overlay(from, message, now, out);
      case "ip-ask":
      case "ip-give":
      case "ip-took":
      case "ip-offer":
      case "ip-no":
      case "ip-stock":
      case "ip-stock-ok":
      case "ip-stock-no":
      case "ip-stock-end":
      case "ip-fenced":
        return this.ipam.handle(from, message, now, out);
      default:
        return this.#options.keeper.handle(from, message, now, out);
    }
  }

  #overlay(from: PeerId, message: OverlayMessage, now: Millis, out: Outbox): void {
    this.#ownersMoved = true;
    this.ownership.handle(from, message, now, out);
    this.#gossip.claimed(from, now);
  }

  /** What the engine reports, but for controls and handshakes. */
  event(event: EngineEvent, now: Millis, out: Outbox): void {
    switch (event.on) {
      case "session.wanted":
      case "session.confirmed":
      case "events.lost":
        return this.sessions.onEvent(event, now, out);
      case "peer.moved":
        this.hosts.prove(event.peer, event.endpoint);
        return this.sessions.onEvent(event, now, out);
      case "mac.learned":
      case "mac.aged":
      case "mac.conflict":
      case "mac.spoof":
      case "macs.full":
        this.#ownersMoved = true;
        return this.ownership.onEvent(event, now, out);
      case "loop.seen":
        this.#planner.touch();
        return this.loops.onEvent(event, now, out);
      case "segment.failed":
        out.notices.push({ kind: "event", code: "segment.failed", vni: event.vni, why: event.why });
        return;
      default:
        return undefined;
    }
  }

  tick(now: Millis, out: Outbox): void {
    this.sessions.tick(now, out);
    this.membership.tick(now, out);
    this.#gossip.tick(now, out);
    const areLoopsDue = due(this.loops.deadline(), now);
    if (areLoopsDue) this.#planner.touch();
    if (due(this.ownership.deadline(), now)) {
      this.#ownersMoved = true;
      this.ownership.tick(now, out);
    }
    if (areLoopsDue) this.#tickLoops(now, out);
    this.hosts.tick(now, out);
    if (due(this.ipam.deadline(), now)) this.ipam.tick(now, out);
  }

  #tickLoops(now: Millis, out: Outbox): void {
    this.loops.tick(now, out);
    for (const vni of this.loops.takeRelearn(now)) this.ownership.relearn(vni, now, out);
  }

  deadline(): Deadline | undefined {
    let soonest: Deadline | undefined;
    for (const machine of this.#timed) soonest = earlier(soonest, machine.deadline());
    return soonest;
  }

  /** Each notice goes to every machine once. */
  notice(notice: Notice, now: Millis, out: Outbox): void {
    if (this.catalogue.notice(notice)) this.#changed(notice);
    this.#own(notice, now, out);
    this.sessions.notice(notice, now, out);
    this.membership.notice(notice, now, out);
    this.#gossip.notice(notice, now, out);
    this.ownership.notice(notice, now, out);
    this.ipam.notice(notice, now, out);
  }

  /** Membership probes everybody whose certificate is known. Who has left is no longer, though its last handshakes may still come in. */
  meet(now: Millis, out: Outbox): void {
    if (this.#departed.size > 0) {
      for (const host of this.#departed) this.#forget(host, "left", now, out);
      this.#departed.clear();
    }
    this.#strangers.add(this.hosts.takeFresh(), now);
    for (const host of this.#strangers.take(this.#gossip, now)) this.#introduce(host, now, out);
  }

  /** The end of every turn: the difference between the new plan and the old, and controls that have no session yet. */
  settle(now: Millis, out: Outbox): void {
    this.#planOwners();
    this.#planner.settle(now, out);
    this.sessions.gate(now, out);
  }

  /** What was said straight to this host, or seen by it, takes effect at once, but most of that changes nothing of what the engine is to hold. */
  #planOwners(): void {
    if (!this.#ownersMoved) return;
    this.#ownersMoved = false;
    const { revision } = this.ownership;
    if (revision !== this.#plannedOwners) this.#planner.touchOwners();
    this.#plannedOwners = revision;
  }

  /** The engine was replaced by one that holds nothing: no key goes into it a second time, so peers handshake anew. */
  engineRestarted(now: Millis, out: Outbox): void {
    this.sessions.closeAll("engine restarted", now, out);
    out.commands.push(this.sessions.admission(), ...this.#planner.refill());
  }

  /** This host is no longer a member: the engine is emptied, and nothing is left to be sealed. */
  close(why: string, now: Millis, out: Outbox): void {
    this.sessions.closeAll(why, now, out);
    out.commands.push(...this.#planner.empty());
    out.controls.length = 0;
  }

  /** Networks as the living hosts and this one state them. */
  networks(): readonly NetworkView[] {
    return this.#planner.networks();
  }

  /** For commands about networks. */
  scene(): NetworkScene {
    return {
      crypto: this.#options.crypto,
      self: this.self,
      clusterId: this.#identity.cluster.id,
      networks: this.networks(),
      wall: this.#options.wall(),
      label: host => this.hosts.label(host),
      write: (record, out) => this.#write(record, out),
    };
  }

  /**
   * This host's own attachments have changed: scopes are taken up or given up. What this host had in one that it gives up goes
   * with one record, before MACs are withdrawn one by one.
   */
  attachmentsChanged(now: Millis, out: Outbox): void {
    const wanted = new Set(this.#options.networks.attachments.map(({ vni }) => scopeOf(vni)));
    for (const scope of wanted) {
      if (this.replica.holds(scope)) continue;
      this.replica.holdScope(scope);
      this.names.publish(vniOf(scope)!, out);
    }
    for (const scope of [...this.replica.scopes()]) {
      if (scope === "" || wanted.has(scope)) continue;
      this.loops.close(vniOf(scope)!);
      this.names.forget(vniOf(scope)!, out);
      this.replica.dropScope(scope, out);
    }
    this.networksChanged(now, out);
    this.#planner.touch();
  }

  /** This host states other networks than before. */
  networksChanged(now: Millis, out: Outbox): void {
    this.ipam.networksChanged(now, out);
  }

  /** Alive as far as this host knows; itself it is. */
  isLive(host: PeerId): boolean {
    if (host === this.self) return true;
    const state = this.membership.state(host);
    return state === "alive" || state === "suspect";
  }

  /** What this host has plugged in, by name. */
  attachment(network: string) {
    return this.#options.networks.attachments.find(each => each.network === network);
  }

  /** Where this host can be reached: what the operator or the daemon gave, then what peers see. */
  endpoints(): readonly Endpoint[] {
    const all = [...this.#options.advertised(), ...this.sessions.observedEndpoints()];
    return [...new Set(all)].slice(0, ENDPOINTS_MAX);
  }

  /** This host's card; nothing is written when nothing changed. */
  publishHost(out: Outbox): void {
    const { certificate, boot } = this.#identity;
    this.#published = this.endpoints();
    const card = {
      name: certificate.name,
      endpoints: this.#published,
      boot: toHex(boot.random),
      engine: this.#options.engine.kind,
      issuer: this.#options.keeper.issuer.active,
      version: this.#options.version,
    };
    this.#write(hostRecord(card), out);
  }

  /** A pin has come or gone. */
  pinsChanged(): void {
    this.#planner.touch();
  }

  #own(notice: Notice, now: Millis, out: Outbox): void {
    switch (notice.kind) {
      case "session.up":
        this.hosts.prove(notice.peer, notice.endpoint);
        if (this.#strangers.delete(notice.peer)) this.#introduce(notice.peer, now, out);
        return this.#planner.reach(notice.peer, true);
      case "word":
        return this.#hearWord(notice, now, out);
      case "member.alive":
      case "member.dead":
        return this.#planner.census(notice.peer, notice.kind === "member.alive");
      case "record":
        return this.#onRecord(notice);
      case "owner.reset":
        if (vniOf(notice.scope) !== undefined) this.#planner.hear();
        else this.hosts.describe(notice.owner, this.catalogue.hosts().get(notice.owner));
        return;
      case "revoked":
        this.#forget(notice.peer, "revoked", now, out);
        this.replica.dropOwner(notice.peer, out);
        return this.#publishRevocations(out);
      case "identity":
        return this.#onIdentity(out);
      case "event":
        if (notice.code === "path.none" && !this.sessions.isUp(notice.peer)) this.#planner.reach(notice.peer, false);
        return;
      default:
        return;
    }
  }

  /** It counts from when membership knows its host. */
  #hearWord(told: Extract<Notice, { kind: "word" }>, now: Millis, out: Outbox): void {
    this.#strangers.add(this.hosts.takeFresh(), now);
    if (!this.#strangers.tell(told.owner, told)) this.membership.heed(told.from, told.owner, told.word, now, out);
  }

  /** A new certificate, key or role: this host's own entry follows, because others are given the certificate from there. */
  #onIdentity(out: Outbox): void {
    this.hosts.learn(this.#identity.certificateBytes);
    this.publishHost(out);
    this.#publishRevocations(out);
  }

  /** Own words take effect at once, those of others together. */
  #changed(notice: Notice): void {
    if (notice.kind === "record" && notice.local) this.#planner.touch();
    else this.#planner.hear();
  }

  #onRecord(notice: Extract<Notice, { kind: "record" }>): void {
    if (notice.scope !== "") this.#changed(notice);
    else if (notice.type === "host") this.hosts.describe(notice.owner, this.catalogue.hosts().get(notice.owner));
    else if (notice.type === LEFT_TYPE) this.#departed.add(notice.owner);
  }

  #forget(host: PeerId, why: string, now: Millis, out: Outbox): void {
    this.#strangers.delete(host);
    this.#strangers.takeWord(host);
    this.membership.forget(host);
    this.sessions.forget(host, why, now, out);
    this.hosts.forget(host);
    this.#planner.forget(host);
  }

  #introduce(host: PeerId, now: Millis, out: Outbox): void {
    const told = this.#strangers.takeWord(host);
    if (host === this.self || !this.hosts.has(host)) return;
    if (this.replica.owners("").get(host)?.left === true) {
      this.#forget(host, "left", now, out);
      return;
    }
    this.membership.know(host, now, out);
    if (told !== undefined) this.membership.heed(told.from, host, told.word, now, out);
    this.hosts.describe(host, this.catalogue.hosts().get(host));
  }

  #holders(scope: string): PeerId[] {
    const vni = vniOf(scope);
    const attached = vni === undefined ? [] : [...this.catalogue.attachments(vni)];
    return attached.map(({ owner }) => owner).filter(owner => owner !== this.self && this.#planner.lives(owner));
  }

  #summary(peer: PeerId): StateSummary {
    return { ...this.#gossip.summary(peer), psk: this.#options.keeper.vault.generation };
  }

  #certificateOf(owner: PeerId): { signKey: Uint8Array; bytes: Uint8Array } | undefined {
    const known = this.hosts.get(owner);
    return known === undefined ? undefined : { signKey: known.certificate.signKey, bytes: known.certificateBytes };
  }

  #sessionIdentity(): SessionIdentity | undefined {
    const { vault } = this.#options.keeper;
    const { identity, caHash } = vault;
    if (identity === undefined || caHash === undefined || !vault.isMember) return undefined;
    return {
      dhKey: { privateKey: identity.keys.dhPrivate, publicKey: identity.certificate.dhKey },
      certificate: identity.certificateBytes,
      caHash,
      psks: identity.psks,
      ciphers: this.#options.engine.ciphers,
      queues: this.#options.engine.queues,
      partialChecksum: this.#options.engine.partialChecksum,
    };
  }

  /** Issuers repeat every revocation under their own name, so that none is lost with the issuer that made it. */
  #publishRevocations(out: Outbox): void {
    const { issuer, vault } = this.#options.keeper;
    if (!issuer.active) return;
    for (const host of vault.revocations.hosts()) {
      const revocation = vault.revocations.get(host);
      if (revocation !== undefined) this.#write(revocationRecord(host, revocation), out);
    }
  }

  #write(record: Omit<RawRecord, "value"> & { readonly value: Uint8Array | undefined }, out: Outbox): void {
    this.replica.write(record.scope, record.type, record.key, record.value, out);
  }

  /** Throws where there is none: a member is made from an identity and dropped before it goes. */
  get #identity(): Identity {
    const { identity } = this.#options.keeper.vault;
    if (identity === undefined) throw new Error("a member without an identity");
    return identity;
  }
}

function due(deadline: Deadline | undefined, now: Millis): boolean {
  return deadline !== undefined && deadline.at <= now;
}
