/**
 * One Compose file on several hosts, with a real nginx and a real MariaDB:
 *
 *   host a: web, port 80 published      host b: db      host c: neither; asks both
 */

import { resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../net/lab.ts";
import type { DockerHost } from "./host.ts";
import { addressOf, cluster, NETWORK, network, resolved, traces, useDockerLab } from "./kit.ts";

const FILE = resolve(import.meta.dirname, "compose.yml");
const lab = useDockerLab();
let a: DockerHost;
let b: DockerHost;
let c: DockerHost;

const compose = (host: DockerHost, ...args: readonly string[]) =>
  host.exec("docker-compose", "-p", "shop", "-f", FILE, ...args);

beforeAll(async () => {
  [a, b, c] = (await lab.boot(3)) as [DockerHost, DockerHost, DockerHost];
  await cluster([a, b, c]);
  await a.images("nginx");
  await b.images("nginx", "mysql");
  await c.images("tools", "mysql");
  await network([a, b, c]);
});

describe("a Compose file across hosts", () => {
  test("comes up, one service on each of two hosts", async () => {
    await Promise.all([compose(a, "up", "-d", "web"), compose(b, "up", "-d", "db")]);
    const addresses = [await addressOf(a, "shop_web_1"), await addressOf(b, "shop_db_1")];
    expect(new Set(addresses).size).toBe(2);
  });

  test("web talks to db on the other host by name", async () => {
    const db = await addressOf(b, "shop_db_1");
    for (const name of ["db", `db.${NETWORK}`, "shop_db_1", "DB"]) {
      await until(`web knows ${name}`, async () => (await resolved(a, "shop_web_1", name)).join() === db);
    }
    const greeting = async () =>
      (await a.tryDocker("exec", "shop_web_1", "sh", "-c", "nc -w 3 db 3306 </dev/null")).stdout;
    await until("MariaDB greets web", async () => (await greeting()).includes("MariaDB"), 120_000);
  });

  test("a client on the third host asks the database by name", async () => {
    const client = ["run", "--rm", "--network", NETWORK, "-e", "MYSQL_PWD=secret", "--entrypoint", "mariadb", "mysql"];
    const sql = "create table if not exists t (n int); insert into t values (6); select n * 7 as answer from t limit 1";
    expect(await c.docker(...client, "-h", "db", "-u", "shop", "-N", "-e", sql, "shop")).toBe("42");
  });

  test("the published port answers on the host's own address, for a host that is not in the container's network", async () => {
    expect(await c.exec("curl", "-sS", "-m", "10", `http://${a.address}/`)).toBe("Hello from nginx.\n");
    expect(
      await c.exec("curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", `http://${a.address}/none`),
    ).toBe("404");
  });

  test("web is reached by name from the other hosts, over the overlay", async () => {
    expect(await c.docker("run", "--rm", "--network", NETWORK, "tools", "curl", "-sS", "-m", "10", "http://web/")).toBe(
      "Hello from nginx.",
    );
  });

  test("a second web on another host has the same name, and both are found", async () => {
    await b.docker("run", "-d", "--name", "web2", "--network", NETWORK, "--network-alias", "web", "nginx");
    const both = [await addressOf(a, "shop_web_1"), await addressOf(b, "web2")].sort();
    await until("both are found", async () => (await resolved(a, "shop_web_1", "web")).join() === both.join());
    await b.docker("rm", "-f", "web2");
    await until("one is found", async () => (await resolved(a, "shop_web_1", "web")).length === 1);
  });

  test("goes down, and the network with it, and leaves nothing on any host", async () => {
    await Promise.all([compose(a, "rm", "-sf"), compose(b, "rm", "-sf")]);
    for (const host of [a, b, c]) await host.docker("network", "rm", NETWORK);
    for (const host of [a, b, c])
      await until(`nothing is left on ${host.name}`, async () => {
        const { links, rules, networks, addresses } = await traces(host);
        return links === "" && rules === "" && addresses === "" && JSON.stringify(networks) === "[]";
      }).catch(async error => {
        throw new Error(`${error}: ${JSON.stringify(await traces(host))}`);
      });
  });
});
