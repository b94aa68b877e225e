/** Making a cluster, joining it, leaving it. */

import type { Command } from "commander";
import { clientOf, print } from "../context.ts";
import { readSecret } from "../secret.ts";

interface Joined {
  readonly cluster: { readonly name: string };
  readonly host: { readonly name: string; readonly id: string };
  readonly join?: string;
  readonly stranded?: readonly string[];
}

export function addClusterVerbs(root: Command): void {
  root
    .command("init")
    .description("make a cluster with this host as its first member and issuer")
    .requiredOption("--name <cluster>", "the cluster's name")
    .option("--host <name>", "this host's name (default: the system's)")
    .action(async (options: { name: string; host?: string }, command: Command) => {
      const made = await clientOf(command).post<Joined>("/v1/init", options);
      print(`cluster ${made.cluster.name} made; this host is ${made.host.name} (${made.host.id.slice(0, 8)})`);
      print(`on each other host:  ${made.join}`);
      print("it asks for a token; make one here:  overlayd token create --ttl 24h --uses 5");
    });

  root
    .command("join")
    .description("join a cluster through any of its members; asks for the token")
    .argument("<peer>", "a member: host, host:port, IPv6 address or [IPv6]:port")
    .option("--token-file <file>", "read the token from a file")
    .option("--token <token>", "the token itself; it shows in the process list, so prefer the prompt")
    .option("--host <name>", "this host's name (default: the system's)")
    .action(async (peer: string, options: { tokenFile?: string; token?: string; host?: string }, command: Command) => {
      if (options.token !== undefined)
        process.stderr.write("overlayd: warning: --token shows in the process list; use the prompt or --token-file\n");
      const token = options.token ?? (await readSecret("token", options.tokenFile));
      const body = { peer, token, ...(options.host === undefined ? {} : { host: options.host }) };
      const joined = await clientOf(command).post<Joined>("/v1/join", body);
      print(`joined ${joined.cluster.name} as ${joined.host.name} (${joined.host.id.slice(0, 8)})`);
    });

  root
    .command("leave")
    .description("leave the cluster: detach all networks, say goodbye, forget the identity")
    .action(async (_options: object, command: Command) => {
      const left = await clientOf(command).post<Joined>("/v1/leave", {});
      for (const line of left.stranded ?? []) print(`left behind: ${line}`);
      print("left the cluster");
    });
}
