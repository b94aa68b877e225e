/** What the Docker tests share: a lab that is always cleaned up, and a cluster with the integration running. */

import { afterAll, afterEach } from "vitest";
import { DockerLab, tail } from "./lab.ts";

export * from "./cluster.ts";

/** A lab for one test file. What its daemons said is shown when a test fails. */
export function useDockerLab(): DockerLab {
  const lab = new DockerLab();
  afterEach(({ task }) => {
    if (task.result?.state !== "fail") return;
    for (const host of lab.hosts)
      for (const service of ["overlayd", "plugin", "dockerd"] as const)
        console.error(
          `--- ${service} of ${host.name}\n${tail(host.logFile(service), service === "dockerd" ? 1500 : 3000)}`,
        );
  });
  afterAll(() => lab.close());
  return lab;
}
