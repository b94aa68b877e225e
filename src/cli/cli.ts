/** The command line: one verb per entry, all of them through the daemon's API. */

import { Command, CommanderError, Option } from "commander";
import { asOperatorError } from "../daemon/errors.ts";
import { VERSION } from "../version.ts";
import { SOCKET_DEFAULT } from "./client.ts";
import { completionScript } from "./completion.ts";
import { addAddressVerbs } from "./verbs/addresses.ts";
import { addClusterVerbs } from "./verbs/cluster.ts";
import { addDockerVerbs } from "./verbs/docker.ts";
import { addNetworkVerbs } from "./verbs/network.ts";
import { addRunVerb } from "./verbs/run.ts";
import { addStatusVerbs } from "./verbs/status.ts";
import { addTrustVerbs } from "./verbs/trust.ts";

const EXAMPLES = `
Examples:
  overlayd init --name lab                        make a cluster on this host; prints the line to run elsewhere
  overlayd token create --ttl 24h --uses 5        make a token for joiners
  overlayd join 10.9.0.1                          join through any member; asks for the token
  overlayd network create blue --subnet 10.77.0.0/16
  overlayd attach blue --bridge br-blue           plug this host's bridge into the network
  overlayd peers --watch                          who is there, over which path

Exit status: 0 done, 2 wrong usage, others by error code (docs/OPERATIONS.md "Errors").`;

/** Builds the whole command tree; used by the entry, the completion script and the tests. */
export function program(): Command {
  const root = new Command("overlayd")
    .description("Joins Linux hosts into one encrypted Layer 2 network, with no server and no key-value store.")
    .version(VERSION)
    .addOption(
      new Option("--socket <path>", "the daemon's control socket").env("OVERLAYD_SOCKET").default(SOCKET_DEFAULT),
    )
    .addHelpText("after", EXAMPLES)
    .showHelpAfterError("(overlayd --help lists the verbs)")
    .configureHelp({ showGlobalOptions: true })
    .exitOverride();
  addRunVerb(root);
  addClusterVerbs(root);
  addNetworkVerbs(root);
  addAddressVerbs(root);
  addStatusVerbs(root);
  addTrustVerbs(root);
  addDockerVerbs(root);
  root
    .command("completion")
    .description("print the bash completion script: source <(overlayd completion)")
    .action(() => {
      process.stdout.write(completionScript(root));
    });
  propagateExit(root);
  return root;
}

/** Runs the command line and sets the exit status; never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program().parseAsync([...argv]);
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** Prints an error as one clear line and its hint; returns the exit status. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const known = asOperatorError(error);
  process.stderr.write(`overlayd: ${known.message}\n`);
  if (known.hint !== "") process.stderr.write(`  ${known.hint}\n`);
  // A fault of this very process is in no log: without the place of it there is nothing to report.
  if (known.code === "internal" && known.cause instanceof Error) process.stderr.write(`${known.cause.stack}\n`);
  return known.exit;
}

/** commander hands `exitOverride` down only to commands made after it; ours come from several files. */
function propagateExit(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride();
    propagateExit(child);
  }
}
