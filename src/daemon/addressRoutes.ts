/** Routes about addresses, names and Docker networks (docs/API.md): what the Docker integration asks for most. */

import * as v from "valibot";
import type { TakeResult } from "../core/ipam/desk.ts";
import { LEASE_FOR_CHARS_MAX } from "../core/ipam/limits.ts";
import type { Millis, Outbox } from "../core/machine.ts";
import { DOCKER_ENDPOINTS_MAX, DOCKER_NETWORKS_MAX } from "../core/naming/docker.ts";
import { NAMES_MAX } from "../core/naming/names.ts";
import type { Node } from "../core/node.ts";
import {
  addName,
  nextPool,
  putNames,
  type Reclaimed,
  reclaim,
  releaseAddress,
  removeName,
  setDocker,
  takeAddress,
} from "../core/services.ts";
import { addressesView, dockerViews, nameViews, poolViews } from "./addressReport.ts";
import type { AddressAnswer, DockerNetworkReport, DockerView } from "./addressViews.ts";
import { Batch } from "./batch.ts";
import { checked, get, ipOf, macOf, post, put, remove, within } from "./bodies.ts";
import { type Daemon, explain } from "./daemon.ts";
import { operatorError } from "./errors.ts";
import type { NamesFeed } from "./namesFeed.ts";
import type { Route } from "./routes.ts";

/** The core answers within 1.5 s; a disk that is slow may take the rest. */
const ADDRESS_MS = 2_000;
const RECLAIM_MS = 5_000;
/** A subnet that was offered is not offered again for this long. */
const OFFER_MS = 60_000;

export interface AddressParts {
  readonly daemon: Daemon;
  readonly names: NamesFeed;
}

const ADDRESS = v.object({
  network: v.string(),
  ip: v.optional(v.string()),
  family: v.optional(v.picklist([4, 6])),
  for: v.pipe(v.string(), v.maxLength(LEASE_FOR_CHARS_MAX)),
});
const RECLAIM = v.object({ host: v.string(), also: v.optional(v.array(v.string()), []) });
const IPS = v.array(v.string());
const NAME = v.object({ network: v.string(), name: v.string(), ips: IPS });
const NAMES = v.object({ names: v.pipe(v.array(v.object({ name: v.string(), ips: IPS })), v.maxLength(NAMES_MAX)) });
const DOCKER_ENDPOINT = v.object({ id: v.string(), container: v.string(), ip: v.string(), mac: v.string() });
const DOCKER = v.object({
  networks: v.pipe(
    v.array(
      v.object({
        network: v.string(),
        name: v.string(),
        id: v.string(),
        endpoints: v.pipe(v.array(DOCKER_ENDPOINT), v.maxLength(DOCKER_ENDPOINTS_MAX)),
      }),
    ),
    v.maxLength(DOCKER_NETWORKS_MAX),
  ),
});
const ENDPOINT = v.object({
  network: v.string(),
  mac: v.string(),
  ips: v.optional(IPS, []),
  name: v.optional(v.string()),
});

export function addressRoutes(parts: AddressParts): Route[] {
  // What comes at once becomes durable at once: a host that starts its containers asks for hundreds.
  const batch = new Batch(parts.daemon);
  return [...endpointRoutes(batch), ...leaseRoutes(parts, batch), ...nameRoutes(parts), ...dockerRoutes(parts)];
}

function endpointRoutes(batch: Batch): Route[] {
  return [
    post("/v1/endpoints", async body => {
      const { network, mac, ips, name } = checked(ENDPOINT, body);
      const [station, addresses] = [macOf(mac), ips.map(ipOf)];
      await batch.command((node, now, out) => node.pin(network, station, addresses, now, out, name));
      return {};
    }),
    remove("/v1/endpoints/:network/:mac", async ({ network = "", mac = "" }) => {
      const station = macOf(mac);
      await batch.command((node, now, out) => node.unpin(network, station, now, out));
      return {};
    }),
  ];
}

function leaseRoutes({ daemon }: AddressParts, batch: Batch): Route[] {
  return [
    get("/v1/addresses", (_params, _body, { query }) => {
      const network = query.get("network");
      if (network === null) throw operatorError("request-bad", { problem: "which network? ?network=NAME" });
      return daemon.read(node => addressesView(node, network));
    }),
    post("/v1/addresses", async (body): Promise<AddressAnswer> => {
      const { network, ip, family, for: why } = checked(ADDRESS, body);
      const wish = { network, ip: ip === undefined ? undefined : ipOf(ip), family, why };
      const { promise, resolve } = Promise.withResolvers<TakeResult>();
      await batch.command((node, now, out) =>
        node.use(member => takeAddress(member, wish, now, out, resolve), now, out),
      );
      const result = await within(promise, ADDRESS_MS, "asking for an address");
      if ("refused" in result) throw explain(result.refused);
      // It may have come with a later turn than the one that asked.
      daemon.requireDurable();
      return result;
    }),
    remove("/v1/addresses/:network/:ip", async ({ network = "", ip = "" }, query) => {
      const lease = { network, ip: ipOf(ip), why: query.get("for") ?? undefined };
      await batch.command((node, now, out) => node.use(member => releaseAddress(member, lease, now, out), now, out));
      return {};
    }),
    post("/v1/addresses/reclaim", async body => {
      const { host, also } = checked(RECLAIM, body);
      const { promise, resolve } = Promise.withResolvers<readonly Reclaimed[]>();
      daemon.command((node, now, out) => {
        const hosts = [host, ...also].map(each => node.hostOf(each));
        node.use(member => reclaim(member, hosts, now, out, resolve), now, out);
      });
      return { networks: reclaimedOf(daemon, host, await within(promise, RECLAIM_MS, "taking stock")) };
    }),
  ];
}

function reclaimedOf(daemon: Daemon, host: string, outcomes: readonly Reclaimed[]) {
  for (const { network, outcome } of outcomes) {
    if ("gained" in outcome) continue;
    const label = (peer: string) =>
      daemon.read(node => node.member?.hosts.labels().get(peer as never) ?? peer.slice(0, 8));
    const why =
      "busy" in outcome
        ? `${label(outcome.busy)} is taking stock of network ${network}; try again`
        : `in network ${network} there is no answer from ${outcome.missing.map(label).join(", ")}`;
    throw operatorError("reclaim-refused", { host, why });
  }
  return outcomes.flatMap(({ network, outcome }) => ("gained" in outcome ? [{ network, count: outcome.gained }] : []));
}

function nameRoutes({ daemon, names }: AddressParts): Route[] {
  const asMember = (action: (...args: [Parameters<typeof addName>[0], Outbox]) => void) =>
    daemon.command((node: Node, now: Millis, out: Outbox) => node.use(member => action(member, out), now, out));
  return [
    get("/v1/names", (_params, _body, { query }) =>
      daemon.read(node => nameViews(node, query.get("network") ?? undefined)),
    ),
    get("/v1/names/stream", (_params, _body, { signal }) => names.listen(signal)),
    post("/v1/names", body => {
      const { network, name, ips } = checked(NAME, body);
      asMember((member, out) => addName(member, network, name, ips.map(ipOf), out));
      return {};
    }),
    remove("/v1/names/:network/:name", ({ network = "", name = "" }) => {
      asMember((member, out) => removeName(member, network, name, out));
      return {};
    }),
    put("/v1/names/:network", ({ network = "" }, body) => {
      const wanted = checked(NAMES, body).names.map(({ name, ips }) => ({ name, ips: ips.map(ipOf) }));
      asMember((member, out) => putNames(member, network, wanted, out));
      return {};
    }),
  ];
}

function dockerRoutes({ daemon }: AddressParts): Route[] {
  /** What Docker has here, until it says otherwise; endpoints are not told to others. */
  let here: readonly DockerNetworkReport[] = [];
  const offered: { readonly subnet: string; readonly until: Millis }[] = [];
  return [
    get("/v1/docker", (): DockerView => ({ networks: daemon.read(node => dockerViews(node, here)) })),
    post("/v1/docker", body => {
      const { networks } = checked(DOCKER, body);
      daemon.command((node, now, out) => node.use(member => setDocker(member, networks, out), now, out));
      here = networks;
      return {};
    }),
    get("/v1/pools", () => daemon.read(poolViews)),
    post("/v1/pools/next", () => {
      const subnet = daemon.command((node, now, out) => {
        while (offered[0] !== undefined && offered[0].until <= now) offered.shift();
        const next = node.use(
          member =>
            nextPool(
              member,
              offered.map(each => each.subnet),
            ),
          now,
          out,
        );
        offered.push({ subnet: next, until: now + OFFER_MS });
        return next;
      });
      return { subnet };
    }),
  ];
}
