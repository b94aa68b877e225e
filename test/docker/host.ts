/** One host of the Docker lab: its namespaces, the daemons in them, and what a person would type there. */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { join, resolve } from "node:path";
import { type Outcome, outcome, sh, until } from "../net/lab.ts";
import { type DockerLab, imageFile, tail } from "./lab.ts";

const OVERLAYD = resolve(import.meta.dirname, "../../scripts/overlayd");
/** Debian's Docker: another one may come first on the machine's own PATH. */
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const SOCKET = "/run/overlayd/overlayd.sock";
/** Starting three dockerds at once takes seconds, on a busy machine tens of them. */
const START_MS = 120_000;
const STOP_MS = 40_000;

interface Made {
  readonly lab: DockerLab;
  readonly name: string;
  readonly dir: string;
  readonly address: string;
  readonly harness: string;
}

type Service = "dockerd" | "overlayd" | "plugin";

export class DockerHost {
  readonly lab: DockerLab;
  readonly name: string;
  readonly dir: string;
  readonly address: string;
  readonly namespace: string;
  readonly #harness: string;
  readonly #services = new Map<Service, ChildProcess>();
  /** Its pid 1, as this machine counts. */
  #init = 0;

  constructor({ lab, name, dir, address, harness }: Made) {
    this.lab = lab;
    this.name = name;
    this.dir = dir;
    this.address = address;
    this.namespace = `${lab.prefix}-${name}`;
    this.#harness = harness;
  }

  /** Network, namespaces and pid 1; again after `crash`, on the same files. */
  async boot(): Promise<void> {
    const { namespace } = this;
    const port = `v-${this.name}`;
    sh("ip", "netns", "add", namespace);
    sh("ip", "-n", this.lab.underlay, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace);
    sh("ip", "-n", this.lab.underlay, "link", "set", port, "master", "br0", "up");
    sh("ip", "-n", namespace, "link", "set", "lo", "up");
    sh("ip", "-n", namespace, "addr", "add", `${this.address}/24`, "dev", "eth0");
    sh("ip", "-n", namespace, "link", "set", "eth0", "up");
    const ready = join(this.dir, "ready");
    rmSync(ready, { force: true });
    const log = openSync(this.logFile("boot"), "a");
    const own = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private"];
    const holder = spawn(
      "nsenter",
      [
        `--net=/run/netns/${namespace}`,
        "--",
        "unshare",
        ...own,
        "--",
        this.#harness,
        "boot",
        this.dir,
        `host-${this.name}`,
      ],
      { stdio: ["ignore", log, log], detached: true },
    );
    closeSync(log);
    holder.unref();
    await until(`host ${this.name} is up`, () => {
      if (holder.exitCode !== null) throw new Error(`host ${this.name}: ${tail(this.logFile("boot"))}`);
      return existsSync(ready);
    });
    this.#init = childOf(holder.pid!);
  }

  /** Power loss: every process and interface goes at once, the files stay. */
  async crash(): Promise<void> {
    process.kill(this.#init, "SIGKILL");
    await until(`host ${this.name} is down`, () => sh("ip", "netns", "pids", this.namespace).trim() === "", STOP_MS);
    this.#services.clear();
    sh("ip", "netns", "del", this.namespace);
    const port = `v-${this.name}`;
    // The veth goes with the namespace, a little later.
    await until("its port is gone", () => !sh("ip", "-n", this.lab.underlay, "-br", "link").includes(`${port}@`));
  }

  /** Takes the cable out, and in again. */
  cut(): void {
    sh("ip", "-n", this.lab.underlay, "link", "set", `v-${this.name}`, "down");
  }

  heal(): void {
    sh("ip", "-n", this.lab.underlay, "link", "set", `v-${this.name}`, "up");
  }

  logFile(service: Service | "boot"): string {
    return join(this.dir, `${service}.log`);
  }

  /** Runs a command; rejects with what it said when it fails. */
  async exec(command: string, ...args: readonly string[]): Promise<string> {
    const result = await this.tryExec([command, ...args]);
    if (result.code === 0) return result.stdout;
    throw new Error(
      `${this.name}: ${command} ${args.join(" ")}: ${result.stderr.trim() || result.stdout.trim() || `exit ${result.code}`}`,
    );
  }

  tryExec(command: readonly string[], input = ""): Promise<Outcome> {
    return outcome("nsenter", [...this.#enter(), "env", `PATH=${PATH}`, ...command], input);
  }

  /** `docker …`, without the last line's end. */
  async docker(...args: readonly string[]): Promise<string> {
    return (await this.exec("docker", ...args)).trimEnd();
  }

  tryDocker(...args: readonly string[]): Promise<Outcome> {
    return this.tryExec(["docker", ...args]);
  }

  cli(...args: readonly string[]): Promise<string> {
    return this.exec(OVERLAYD, ...args);
  }

  tryCli(args: readonly string[], input = ""): Promise<Outcome> {
    return this.tryExec([OVERLAYD, ...args], input);
  }

  /** An answer of the daemon's API, asked from outside: its /run is reached through its pid 1. */
  get<T>(route: string): Promise<T> {
    const { promise, resolve: done, reject } = Promise.withResolvers<T>();
    const asked = request(
      { socketPath: `/proc/${this.#init}/root${SOCKET}`, path: route, timeout: 10_000 },
      response => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (body += chunk));
        response.on("error", reject);
        response.on("end", () =>
          response.statusCode === 200 ? done(JSON.parse(body) as T) : reject(new Error(`${route}: ${body}`)),
        );
      },
    );
    asked.on("timeout", () => asked.destroy(new Error(`${route}: no answer`)));
    asked.on("error", reject);
    asked.end();
    return promise;
  }

  /** A file of this host as this machine sees it. */
  path(file: string): string {
    return `/proc/${this.#init}/root${file}`;
  }

  async startDocker(...flags: readonly string[]): Promise<void> {
    const usual = [
      "--host",
      "unix:///run/docker.sock",
      "--storage-driver",
      this.lab.storage,
      "--shutdown-timeout",
      "5",
    ];
    const groups = ["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", `/${this.namespace}`];
    await this.#start(
      "dockerd",
      ["dockerd", ...usual, ...groups, ...flags],
      async () => (await this.tryDocker("info")).code === 0,
    );
  }

  async startOverlayd(...flags: readonly string[]): Promise<void> {
    await this.#start("overlayd", [OVERLAYD, "run", "--config", "/dev/null", ...flags], () =>
      this.get("/v1/status")
        .then(() => true)
        .catch(() => false),
    );
  }

  /** The plugin and the DNS fronts. */
  async startPlugin(...flags: readonly string[]): Promise<void> {
    await this.#start("plugin", [OVERLAYD, "docker", "run", ...flags], () =>
      this.plugin("Plugin.Activate")
        .then(() => true)
        .catch(() => false),
    );
  }

  /** One request to the plugin's socket, as dockerd sends it. */
  plugin(method: string, body?: object): Promise<{ status: number; body: unknown }> {
    const { promise, resolve: done, reject } = Promise.withResolvers<{ status: number; body: unknown }>();
    const options = {
      socketPath: this.path("/run/docker/plugins/overlayd.sock"),
      method: "POST",
      path: `/${method}`,
      timeout: 10_000,
    };
    const asked = request(options, response => {
      let answer = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (answer += chunk));
      response.on("error", reject);
      response.on("end", () =>
        done({ status: response.statusCode ?? 0, body: answer === "" ? undefined : JSON.parse(answer) }),
      );
    });
    asked.on("timeout", () => asked.destroy(new Error(`${method}: no answer`)));
    asked.on("error", reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    return promise;
  }

  /** Ends a service and waits for it: SIGKILL is a crash, SIGTERM a stop. */
  async stop(service: Service, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const entered = this.#services.get(service);
    if (entered === undefined) return;
    this.#services.delete(service);
    if (entered.exitCode !== null || entered.signalCode !== null) return;
    const gone = new Promise(done => entered.once("exit", done));
    process.kill(childOf(entered.pid!), signal);
    const timer = setTimeout(() => entered.kill("SIGKILL"), STOP_MS);
    await gone;
    clearTimeout(timer);
  }

  isRunning(service: Service): boolean {
    const child = this.#services.get(service);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Its own pid, as this machine counts. */
  pidOf(service: Service): number {
    return childOf(this.#services.get(service)!.pid!);
  }

  /** Loads images under their usual names. */
  async images(...names: readonly ("tools" | "nginx" | "mysql")[]): Promise<void> {
    for (const name of names) {
      const changes = IMAGE[name].flatMap(each => ["-c", each]);
      await this.docker("import", ...changes, imageFile(name), `${name}:latest`);
    }
  }

  async #start(service: Service, command: readonly string[], answers: () => Promise<boolean>): Promise<void> {
    mkdirSync(this.dir, { recursive: true });
    const log = openSync(this.logFile(service), "a");
    const child = spawn("nsenter", [...this.#enter(), "env", `PATH=${PATH}`, ...command], {
      stdio: ["ignore", log, log],
      detached: true,
    });
    closeSync(log);
    this.#services.set(service, child);
    await until(
      `${service} of ${this.name} answers`,
      () => {
        if (child.exitCode !== null)
          throw new Error(`${service} of ${this.name} ended: ${tail(this.logFile(service))}`);
        return answers();
      },
      START_MS,
    );
  }

  #enter(): string[] {
    const namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root"];
    return ["--target", String(this.#init), ...namespaces, "--wdns=/", "--"];
  }
}

const IMAGE = {
  tools: ['CMD ["sleep","infinity"]', "ENV PATH=/bin"],
  nginx: ['CMD ["nginx","-g","daemon off;"]', "ENV PATH=/usr/sbin:/usr/bin:/bin", "EXPOSE 80"],
  mysql: ['ENTRYPOINT ["/entry"]', "ENV PATH=/usr/sbin:/usr/bin:/bin", "EXPOSE 3306"],
} as const;

/** The only child of a process that forked to enter a pid namespace. */
function childOf(pid: number): number {
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
  if (child > 1) return child;
  throw new Error(`process ${pid} has no child`);
}
