/** The routes of the API (docs/API.md): bodies are checked here, the core decides, answers are plain data. */

import { lookup } from "node:dns/promises";
import { hostname } from "node:os";
import * as v from "valibot";
import type { Identity } from "../core/identity/identity.ts";
import type { JoinResult } from "../core/node.ts";
import type { EngineStats } from "../engine/engine.ts";
import { toHex } from "../wire/bytes.ts";
import type { Endpoint } from "../wire/ids.ts";
import { formatEndpoint, parseEndpoint } from "../wire/ids.ts";
import { PORT_DEFAULT } from "../wire/protocol.ts";
import { heldWords } from "./addressReport.ts";
import { addressRoutes } from "./addressRoutes.ts";
import { checked, get, post, remove, within } from "./bodies.ts";
import { openCaKey, sealCaKey } from "./caBackup.ts";
import { type Daemon, explain } from "./daemon.ts";
import { operatorError } from "./errors.ts";
import { type EventFeed, LISTENERS_MAX } from "./events.ts";
import type { NamesFeed } from "./namesFeed.ts";
import type { Plumbing } from "./plumbing.ts";
import { macViews, networkViews, peerViews, type Surroundings, statusView } from "./report.ts";
import type { Route } from "./routes.ts";

export interface ApiParts {
  readonly daemon: Daemon;
  readonly plumbing: Plumbing;
  readonly events: EventFeed;
  readonly names: NamesFeed;
  readonly stats: () => EngineStats;
  readonly surroundings: () => Surroundings;
  /** Port this host listens on: what a joiner adds to our address when it is not the usual one. */
  readonly port: () => number;
}

/** A join goes through several rounds of at most a few seconds each. */
const JOIN_MS = 45_000;
const ISSUER_MS = 15_000;
const LEAVE_MS = 5_000;
/** A block takes two round trips to another host. */
const HAND_OVER_MS = 2_000;
const HAND_OVER_LOOK_MS = 20;

export function apiRoutes(parts: ApiParts): Route[] {
  return [
    ...readingRoutes(parts),
    ...clusterRoutes(parts),
    ...networkRoutes(parts),
    ...addressRoutes(parts),
    ...trustRoutes(parts),
  ];
}

function readingRoutes({ daemon, events, stats, surroundings }: ApiParts): Route[] {
  return [
    get("/v1/status", () => daemon.read((node, now) => statusView(node, stats(), now, surroundings()))),
    get("/v1/peers", () => daemon.read(node => peerViews(node, stats()))),
    get("/v1/networks", () => daemon.read(node => networkViews(node, stats()))),
    get("/v1/macs", (_params, _body, { query }) =>
      daemon.read(node => macViews(node, query.get("network") ?? undefined)),
    ),
    get("/v1/tokens", () => daemon.read(node => node.tokens())),
    get("/v1/events", (_params, _body, { signal }) => {
      const feed = events.listen(signal);
      if (feed === undefined) throw operatorError("busy", { what: "listeners for events", max: LISTENERS_MAX });
      return feed;
    }),
  ];
}

const INIT = v.object({ name: v.string(), host: v.optional(v.string()) });
const JOIN = v.object({ peer: v.string(), token: v.string(), host: v.optional(v.string()) });

function clusterRoutes(parts: ApiParts): Route[] {
  const { daemon, plumbing, events } = parts;
  return [
    post("/v1/init", body => {
      const { name, host } = checked(INIT, body);
      const identity = daemon.command((node, now, out) =>
        node.init({ cluster: name, host: host ?? ownName() }, now, out),
      );
      return { ...named(identity), join: `overlayd join ${joinAddress(parts)}` };
    }),
    post("/v1/join", async body => {
      const { peer, token, host } = checked(JOIN, body);
      const endpoints = await resolve(peer.trim());
      return named(await join(daemon, { token: token.trim(), endpoints, host: host ?? ownName() }, peer));
    }),
    post("/v1/leave", async () => {
      const stranded = await leaveNetworks(parts);
      const left = events.once(event => event.code === "identity.left", LEAVE_MS);
      daemon.command((node, now, out) => node.leave(now, out));
      if ((await left) === undefined) throw operatorError("timeout", { action: "the farewell", timeoutMs: LEAVE_MS });
      plumbing.failed.clear();
      return { stranded };
    }),
  ];
}

/** Detaches what is attached, of an evicted host too; tells which MACs of other people's bridges lose their network. */
async function leaveNetworks({ daemon, plumbing }: ApiParts): Promise<string[]> {
  const standing = daemon.read(node => node.standing);
  if (standing === "idle" || standing === "joining") throw operatorError("not-member");
  const stranded = daemon.read(node =>
    node.member === undefined ? [] : macViews(node, undefined).filter(mac => mac.hostId === node.self),
  );
  await plumbing.detachAll();
  const kept = standing === "member" ? await handOver(daemon) : [];
  return [...stranded.map(mac => `${mac.mac} in network ${mac.network}`), ...kept];
}

/** Addresses go to those who stay; tells which nobody took in time. */
async function handOver(daemon: Daemon): Promise<string[]> {
  daemon.command((node, now, out) => node.use(member => member.ipam.leave(now, out), now, out));
  const held = () => daemon.read(({ member }) => (member === undefined ? [] : heldWords(member)));
  const until = Date.now() + HAND_OVER_MS;
  while (held().length > 0 && Date.now() < until) await new Promise(resolve => setTimeout(resolve, HAND_OVER_LOOK_MS));
  return held();
}

const NETWORK = v.object({
  name: v.string(),
  subnet: v.optional(v.string()),
  subnet6: v.optional(v.string()),
  gateway: v.optional(v.string()),
  gateway6: v.optional(v.string()),
  mtu: v.optional(v.number()),
  vni: v.optional(v.number()),
});
const ATTACH = v.object({
  network: v.string(),
  bridge: v.optional(v.string()),
  pinnedOnly: v.optional(v.boolean(), false),
});

function networkRoutes({ daemon, plumbing, stats }: ApiParts): Route[] {
  return [
    post("/v1/networks", body => {
      const wish = checked(NETWORK, body);
      const { vni } = daemon.command((node, now, out) => node.createNetwork(wish, now, out));
      return daemon.read(node => networkViews(node, stats())).find(each => each.name === wish.name && each.vni === vni);
    }),
    remove("/v1/networks/:name", ({ name = "" }) => {
      daemon.command((node, now, out) => node.removeNetwork(name, now, out));
      return {};
    }),
    post("/v1/attachments", async body => {
      const { network, bridge, pinnedOnly } = checked(ATTACH, body);
      const { vni, tap, tapMtu, bridge: made } = await plumbing.attach(network, bridge, pinnedOnly);
      return { network, vni, bridge: made, tap, mtu: tapMtu };
    }),
    remove("/v1/attachments/:network", async ({ network = "" }) => {
      await plumbing.detach(network);
      return {};
    }),
  ];
}

const TOKEN = v.object({ ttlS: v.number(), uses: v.number() });
const HOST = v.object({ host: v.string() });
const PASSPHRASE = v.pipe(v.string(), v.nonEmpty());
const EXPORT = v.object({ passphrase: PASSPHRASE });
const IMPORT = v.object({ passphrase: PASSPHRASE, backup: v.string() });

function trustRoutes({ daemon }: ApiParts): Route[] {
  return [
    post("/v1/tokens", body => {
      const terms = checked(TOKEN, body);
      const { token, view } = daemon.command((node, _now, out) => node.createToken(terms, out));
      return { ...view, token };
    }),
    remove("/v1/tokens/:id", ({ id = "" }) => {
      daemon.command((node, _now, out) => node.revokeToken(id, out));
      return {};
    }),
    post("/v1/issuers", async body => {
      await addIssuer(daemon, checked(HOST, body).host);
      return {};
    }),
    post("/v1/evictions", body => {
      const { host } = checked(HOST, body);
      return daemon.command((node, now, out) => node.evict(node.hostOf(host), now, out));
    }),
    post("/v1/ca/export", async body => {
      const { passphrase } = checked(EXPORT, body);
      const seed = daemon.read(node => node.exportCa());
      try {
        return { backup: await sealCaKey(seed, passphrase) };
      } finally {
        seed.fill(0);
      }
    }),
    post("/v1/ca/import", async body => {
      const { passphrase, backup } = checked(IMPORT, body);
      const seed = await openCaKey(backup.trim(), passphrase);
      try {
        const taken = daemon.command((node, now, out) => node.importCa(seed, now, out));
        if (!taken) throw operatorError("request-bad", { problem: "the backup is of another cluster's CA" });
        return {};
      } finally {
        seed.fill(0);
      }
    }),
  ];
}

async function join(
  daemon: Daemon,
  wish: { token: string; endpoints: readonly Endpoint[]; host: string },
  peer: string,
): Promise<Identity> {
  const { promise, resolve } = Promise.withResolvers<JoinResult>();
  daemon.command((node, now, out) => node.join(wish, now, out, resolve));
  const result = await within(promise, JOIN_MS, "joining");
  if ("joined" in result) return result.joined;
  throw joinError(result.failed, peer, wish.host);
}

function joinError(failed: Extract<JoinResult, { failed: unknown }>["failed"], peer: string, host: string): Error {
  switch (failed) {
    case "token-wrong":
    case "token-expired":
    case "token-used-up":
    case "issuer-unreachable":
      return operatorError(failed);
    case "name-taken":
      return operatorError("name-taken", { name: host });
    case "version":
      return operatorError("version-unsupported", { peer });
    case "issuer-unknown":
    case "not-issuer":
      return operatorError("issuer-unreachable");
    case "wrong-cluster":
    case "not-member":
    case "bad-answer":
      return operatorError("token-wrong");
    case "revoked":
      return operatorError("evicted");
    case "busy":
      return operatorError("busy", { what: "joins at that member", max: 64 });
    case "already-member":
      return operatorError("already-member", { cluster: "" });
    default:
      return operatorError("peer-unreachable", { peer });
  }
}

async function addIssuer(daemon: Daemon, host: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<Error | undefined>();
  daemon.command((node, now, out) => node.addIssuer(node.hostOf(host), now, out, resolve));
  const refusal = await within(promise, ISSUER_MS, "handing over the CA key");
  if (refusal !== undefined) throw explain(refusal);
}

/** What an operator gave as a peer: an address, with or without port, or a name that DNS knows. */
async function resolve(peer: string): Promise<Endpoint[]> {
  const literal = parseEndpoint(peer, PORT_DEFAULT);
  if (literal !== undefined) return [literal];
  const match = /^([^:[\]]+)(?::(\d{1,5}))?$/.exec(peer);
  const port = match?.[2] === undefined ? PORT_DEFAULT : Number(match[2]);
  if (match?.[1] === undefined || port < 1 || port > 0xffff)
    throw operatorError("usage", { problem: `'${peer}' is no host, host:port or IP address` });
  try {
    const addresses = await lookup(match[1], { all: true });
    return addresses.flatMap(({ address }) => formatEndpoint(address, port) ?? []);
  } catch (error) {
    throw operatorError("name-unresolved", { name: match[1] }, error);
  }
}

/** An address of this host as others would type it. */
function joinAddress({ daemon, port }: ApiParts): string {
  const [first] = daemon.read(node => node.advertised);
  if (first === undefined) return port() === PORT_DEFAULT ? "HOST" : `HOST:${port()}`;
  return first.endsWith(`:${PORT_DEFAULT}`) ? first.slice(0, -`:${PORT_DEFAULT}`.length) : first;
}

function named(identity: Identity) {
  const { cluster, host, certificate } = identity;
  return { cluster: { id: toHex(cluster.id), name: cluster.name }, host: { id: host, name: certificate.name } };
}

/** The system's name, as far as it is a label: some systems have underscores in theirs. */
function ownName(): string {
  const [first = ""] = hostname().split(".", 1);
  const label = first.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 63);
  return label.replace(/^-|-$/g, "") || "host";
}
