/** Entry: checks the Node it runs on and hands the command line to cli/. */

const NODE_MIN = [24, 11] as const;

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1])) {
  console.error(
    `overlayd: needs Node ${NODE_MIN.join(".")} or later, this is ${process.versions.node}; start it with scripts/overlayd, which brings its own`,
  );
  process.exit(1);
}

// Whoever reads our output may have seen enough: `overlayd events | head -1`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const { main } = await import("./cli/cli.ts");
await main(process.argv);
