/** `overlayd run`: the daemon itself, in the foreground. */

import type { Command } from "commander";
import type { RunFlags } from "../../daemon/run.ts";

export function addRunVerb(root: Command): void {
  root
    .command("run")
    .description("run the daemon in the foreground (what the systemd unit starts); idle until init or join")
    .option("--config <file>", "configuration file", "/etc/overlayd/overlayd.toml")
    .option("--state-dir <dir>", "state directory (default /var/lib/overlayd)")
    .option("--listen <endpoint...>", "address:port to listen on (default: port 4794 on every address)")
    .option(
      "--advertise <endpoint...>",
      "address[:port] that others reach this host at, in place of those found on its interfaces",
    )
    .option("--interface <name>", "advertise the addresses of this interface instead of the default route's")
    .option("--engine <kind>", "auto, native or portable")
    .option("--log-level <level>", "error, warn, info or debug")
    .action(async (options: Omit<RunFlags, "socket" | "configRequired">, command: Command) => {
      const { runDaemon } = await import("../../daemon/run.ts");
      const isNamed = command.getOptionValueSourceWithGlobals("socket") !== "default";
      const { socket } = command.optsWithGlobals<{ socket: string }>();
      await runDaemon({
        ...options,
        ...(isNamed ? { socket } : {}),
        configRequired: command.getOptionValueSource("config") === "cli",
      });
    });
}
