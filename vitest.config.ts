import { defineConfig } from "vitest/config";

/** `unit` needs nothing of the host; `net` makes network namespaces and needs root and /dev/net/tun; `docker` needs Docker too. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/net/**", "test/docker/**", "node_modules/**"],
          pool: "threads",
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "net",
          include: ["test/net/**/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: "docker",
          include: ["test/docker/**/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
