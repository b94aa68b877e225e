/**
 * DNS fronts in real network namespaces, in front of a resolver that is set up as Docker's is: at a port of its own on 127.0.0.11,
 * behind rules of priority -100.
 *
 *   asker --> 127.0.0.11:53 --(-101)--> front --(marked)--> 127.0.0.11:53 --(-100)--> resolver
 */

import { execFileSync } from "node:child_process";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import { type Answer, decode, encode } from "dns-packet";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Front } from "../../src/docker/dns/front.ts";
import { Fronts } from "../../src/docker/dns/fronts.ts";
import { Names } from "../../src/docker/dns/names.ts";
import { boundSocket } from "../../src/docker/dns/sockets.ts";
import { messages } from "../../src/docker/dns/tcp.ts";
import { libc } from "../../src/sys/libc.ts";
import { inNetworkNamespace, namespaceIdentity, openNetworkNamespace } from "../../src/sys/netns.ts";
import { sh, until } from "./lab.ts";

const log = { warn: (code: string, message: string) => console.error(code, message), debug: () => undefined };
const names = new Names();
const memberships = [{ network: "blue", suffixes: ["blue"] }];
let count = 0;

/** A namespace like a container's, with a resolver that answers every question with 192.0.2.1 and the text of its own. */
class Place {
  readonly name: string;
  readonly path: string;
  readonly #fd: number;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly seen: string[] = [];

  constructor() {
    count += 1;
    this.name = `ovf${process.pid.toString(36)}${count}`;
    this.path = `/run/netns/${this.name}`;
    sh("ip", "netns", "add", this.name);
    sh("ip", "-n", this.name, "link", "set", "lo", "up");
    this.#fd = openNetworkNamespace(this.path);
    const { udp, tcp } = inNetworkNamespace(this.#fd, () => ({ udp: boundSocket("udp"), tcp: boundSocket("tcp") }));
    this.#udp = createSocket("udp4", (bytes, from) => this.#udp.send(this.#answer(bytes), from.port, from.address));
    this.#udp.bind({ fd: udp.fd });
    this.#tcp = createServer(client => {
      client.on("error", () => undefined);
      client.on(
        "data",
        messages(
          bytes => client.write(framed(this.#answer(bytes))),
          () => client.destroy(),
        ),
      );
    }).listen({ fd: tcp.fd });
    const rules = ["udp", "tcp"].map(
      each => `ip daddr 127.0.0.11 ${each} dport 53 dnat to 127.0.0.11:${each === "udp" ? udp.port : tcp.port}`,
    );
    this.nft(`table ip docker { chain output { type nat hook output priority -100; ${rules.join("\n")}\n }\n }\n`);
  }

  nft(text: string): string {
    return execFileSync("ip", ["netns", "exec", this.name, "nft", "-f", "-"], { input: text, encoding: "utf8" });
  }

  rules(): string {
    return sh("ip", "netns", "exec", this.name, "nft", "list", "ruleset");
  }

  /** The addresses that a program in the namespace is told; undefined for no answer within a second. */
  ask(name: string, type: "A" | "AAAA" | "PTR" | "MX" = "A"): Promise<string[] | undefined> {
    const { promise, resolve } = Promise.withResolvers<string[] | undefined>();
    const { fd } = inNetworkNamespace(this.#fd, () => boundSocket("udp"));
    const socket = createSocket("udp4", bytes => resolve(values(bytes)));
    socket.on("error", () => undefined);
    socket.bind({ fd });
    socket.send(encode({ type: "query", id: 99, flags: 256, questions: [{ name, type }] }), 53, "127.0.0.11");
    const timer = setTimeout(() => resolve(undefined), 1_000);
    return promise.finally(() => {
      clearTimeout(timer);
      socket.close();
    });
  }

  /** The same for several questions on one TCP connection. */
  askTcp(...asked: readonly string[]): Promise<string[][]> {
    const { promise, resolve, reject } = Promise.withResolvers<string[][]>();
    const { fd } = inNetworkNamespace(this.#fd, () => boundSocket("tcp"));
    const socket = new Socket({ fd });
    const answers = new Map<number, string[]>();
    socket.setTimeout(3_000, () => reject(new Error("no answer")));
    socket.on("error", reject);
    socket.on(
      "data",
      messages(
        bytes => {
          answers.set(decode(Buffer.from(bytes)).id!, values(Buffer.from(bytes)));
          if (answers.size === asked.length) resolve(asked.map((_, id) => answers.get(id)!));
        },
        () => undefined,
      ),
    );
    socket.connect(53, "127.0.0.11", () => {
      for (const [id, name] of asked.entries())
        socket.write(framed(encode({ type: "query", id, flags: 256, questions: [{ name, type: "A" }] })));
    });
    return promise.finally(() => socket.destroy());
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
    libc.close(this.#fd);
    sh("ip", "netns", "del", this.name);
  }

  #answer(bytes: Uint8Array): Uint8Array {
    const { id, questions } = decode(Buffer.from(bytes));
    const [question] = questions!;
    this.seen.push(`${question!.type} ${question!.name}`);
    const answers: Answer[] = [{ name: question!.name, type: "A", ttl: 60, data: "192.0.2.1" }];
    return encode({ type: "response", id: id!, questions: questions!, answers });
  }
}

function framed(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

function values(bytes: Buffer): string[] {
  return decode(bytes)
    .answers!.map(each => String((each as { data: unknown }).data))
    .sort();
}

beforeAll(() => {
  names.set("blue", [
    { name: "web", ips: ["10.77.0.2", "10.77.1.2"] },
    { name: "db", ips: ["10.77.0.3", "fd00:77::3"] },
    { name: "many", ips: Array.from({ length: 500 }, (_, index) => `10.77.8.${index & 255}`).slice(0, 256) },
  ]);
});

describe("a front", () => {
  let place: Place;
  let front: Front | undefined;

  beforeEach(() => {
    place = new Place();
    front = new Front({ path: place.path, names, memberships: () => memberships });
  });

  afterEach(() => {
    front?.close();
    place.close();
  });

  test("makes these rules and no others, and removes them", () => {
    expect(place.rules().replace(/\d+\.\d+s|\d+s\d+ms|:\d+$/gm, "")).toContain(`table ip overlayd_dns {
	set alive {
		type ipv4_addr
		timeout 5s
		elements = { 127.0.0.11 expires  }
	}

	chain output {
		type nat hook output priority -101; policy accept;
		meta mark != 0x6f766c64 ip daddr @alive udp dport 53 dnat to 127.0.0.11
		meta mark != 0x6f766c64 ip daddr @alive tcp dport 53 dnat to 127.0.0.11
	}
}`);
    front!.close();
    front = undefined;
    expect(place.rules()).not.toContain("overlayd");
  });

  test("answers overlay names itself, and asks Docker's resolver everything else", async () => {
    expect(await place.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(await place.ask("WEB.blue")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(await place.ask("web", "AAAA")).toEqual([]);
    expect(await place.ask("db", "AAAA")).toEqual(["fd00:77::3"]);
    expect(await place.ask("web", "MX")).toEqual([]);
    expect(await place.ask("3.0.77.10.in-addr.arpa", "PTR")).toEqual(["db.blue"]);
    expect(place.seen).toEqual([]);
    expect(await place.ask("example.org")).toEqual(["192.0.2.1"]);
    expect(await place.ask("9.9.9.9.in-addr.arpa", "PTR")).toEqual(["192.0.2.1"]);
    expect(place.seen).toEqual(["A example.org", "PTR 9.9.9.9.in-addr.arpa"]);
  });

  test("gives each of a name's addresses the first place in turn", async () => {
    const { fd } = inNetworkNamespace(openNetworkNamespace(place.path), () => boundSocket("udp"));
    const firsts = new Set<string>();
    const socket = createSocket("udp4", bytes =>
      firsts.add(String((decode(bytes).answers![0] as { data: unknown }).data)),
    );
    socket.bind({ fd });
    await until("both have been first", () => {
      socket.send(encode({ type: "query", id: 1, questions: [{ name: "web", type: "A" }] }), 53, "127.0.0.11");
      return firsts.size === 2;
    });
    socket.close();
  });

  test("answers over TCP, several questions on one connection, its own and Docker's", async () => {
    expect(await place.askTcp("web", "example.org", "db", "example.net")).toEqual([
      ["10.77.0.2", "10.77.1.2"],
      ["192.0.2.1"],
      ["10.77.0.3"],
      ["192.0.2.1"],
    ]);
    expect((await place.askTcp("many"))[0]).toHaveLength(256);
    const cut = await place.ask("many");
    expect(cut!.length).toBeGreaterThan(10);
    expect(cut!.length).toBeLessThan(40);
  });

  test("carries many questions at once, each answer to who asked", async () => {
    const asked = Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? "web" : `n${index}.example.org`));
    const answers = await Promise.all(asked.map(name => place.ask(name)));
    expect(answers.filter((_, index) => index % 2 === 0)).toEqual(Array(50).fill(["10.77.0.2", "10.77.1.2"]));
    expect(answers.filter((_, index) => index % 2 === 1)).toEqual(Array(50).fill(["192.0.2.1"]));
  });

  test("is not harmed by what is no question", async () => {
    const { fd } = inNetworkNamespace(openNetworkNamespace(place.path), () => boundSocket("udp"));
    const socket = createSocket("udp4");
    socket.bind({ fd });
    for (let length = 0; length < 40; length++) socket.send(Buffer.alloc(length, 0xff), 53, "127.0.0.11");
    expect(await place.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
    socket.close();
  });

  test("that dies leaves Docker's resolver alone within 5 s", async () => {
    await new Promise(done => setTimeout(done, 1_000));
    front!.renew(performance.now());
    expect(await place.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
    front!.abandon();
    front = undefined;
    const took = await until("Docker's resolver answers", async () => (await place.ask("web"))?.[0] === "192.0.2.1");
    expect(took).toBeLessThan(6_000);
  });

  test("takes the place of one that died, at once", async () => {
    front!.abandon();
    front = new Front({ path: place.path, names, memberships: () => memberships });
    expect(await place.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(place.rules().match(/table ip overlayd_dns/g)).toHaveLength(1);
  });
});

describe("the fronts of a host", () => {
  let fronts: Fronts;
  const places: Place[] = [];
  const place = () => {
    const made = new Place();
    places.push(made);
    return made;
  };
  const endpoint = (id: string, sandboxKey: string, network = "blue") => ({
    id,
    sandboxKey,
    network,
    suffixes: [network === "blue" ? "my-network" : network, network],
  });

  beforeEach(() => {
    fronts = new Fronts({ names, log });
  });

  afterEach(() => {
    fronts.close();
    for (const each of places.splice(0)) each.close();
  });

  test("come up at once where the namespace is there, and go with the last endpoint", async () => {
    const at = place();
    fronts.join(endpoint("e1", at.path));
    expect(fronts.views()).toMatchObject([{ isUp: true }]);
    expect(await at.ask("web.my-network")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(await at.ask("3.0.77.10.in-addr.arpa", "PTR")).toEqual(["db.my-network"]);
    fronts.join(endpoint("e2", at.path, "red"));
    fronts.leave("e1");
    expect(await at.ask("web")).toEqual(["192.0.2.1"]);
    expect(at.rules()).toContain("overlayd_dns");
    fronts.leave("e2");
    expect(at.rules()).not.toContain("overlayd_dns");
    expect(fronts.views()).toEqual([]);
  });

  test("take another name of a network without a moment's rest", async () => {
    const at = place();
    fronts.join({ ...endpoint("e1", at.path), suffixes: ["blue"] });
    const before = at.rules().match(/11:\d+/g);
    expect(await at.ask("web.my-network")).toEqual(["192.0.2.1"]);
    fronts.join(endpoint("e1", at.path));
    expect(await at.ask("web.my-network")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(at.rules().match(/11:\d+/g)).toEqual(before);
  });

  test("wait for a namespace that is announced, and are up some milliseconds after it", async () => {
    const path = `/run/netns/ovf${process.pid.toString(36)}${count + 1}`;
    fronts.join(endpoint("e1", path));
    expect(fronts.views()).toMatchObject([{ isUp: false }]);
    const at = place();
    expect(at.path).toBe(path);
    expect(await until("it is up", () => fronts.views()[0]!.isUp)).toBeLessThan(1_000);
    expect(await at.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
  });

  test("keep their rules for as long as they live, and put back what somebody flushed", async () => {
    const at = place();
    fronts.join(endpoint("e1", at.path));
    await new Promise(done => setTimeout(done, 6_000));
    expect(await at.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
    at.nft("delete table ip overlayd_dns");
    expect(await at.ask("web")).toEqual(["192.0.2.1"]);
    await until("the rules are back", () => at.rules().includes("overlayd_dns"), 3_000);
    expect(await at.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
  });

  test("let go of a namespace that is gone without a Leave, and come up in the next one of its name", async () => {
    const first = new Place();
    fronts.join(endpoint("e1", first.path));
    const before = namespaceIdentity(first.path);
    first.close();
    await until("it has let go", () => !fronts.views()[0]!.isUp, 3_000);
    count -= 1;
    const second = place();
    expect(second.path).toBe(first.path);
    expect(namespaceIdentity(second.path)).not.toBe(undefined);
    await until("it is up", () => fronts.views()[0]!.isUp, 3_000);
    expect(await second.ask("web")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(before).toBeDefined();
  });
});

afterAll(() => {
  const left = sh("ip", "netns", "list")
    .split("\n")
    .filter(line => line.startsWith(`ovf${process.pid.toString(36)}`));
  expect(left).toEqual([]);
});
