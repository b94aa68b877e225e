/** The calls by their names. Activation and capabilities are answered in every state: Docker remembers a wrong answer until it is restarted. */

import { operatorError } from "../daemon/errors.ts";
import { IPAM_CAPABILITIES, ipamNames } from "./ipamDriver.ts";
import { WAIT_MS } from "./limits.ts";
import { NETWORK_CAPABILITIES, networkNames } from "./networkDriver.ts";
import type { Call, Method } from "./server.ts";

export interface PluginParts {
  /** The drivers' methods, when the state has been read. */
  readonly network: Promise<Readonly<Record<string, Method>>>;
  readonly ipam: Promise<Readonly<Record<string, Method>>>;
  /** For `overlayd docker status`. */
  readonly status: () => Promise<object>;
}

/** Our own question, beside Docker's. */
export const STATUS_METHOD = "Overlayd.Status";

export function pluginMethods(parts: PluginParts): ReadonlyMap<string, Method> {
  const methods = new Map<string, Method>([
    ["Plugin.Activate", { empty: true, answer: () => ({ Implements: ["NetworkDriver", "IpamDriver"] }) }],
    [STATUS_METHOD, { empty: true, answer: () => parts.status() }],
  ]);
  for (const [name, answer] of Object.entries(NETWORK_CAPABILITIES))
    methods.set(`NetworkDriver.${name}`, { empty: true, answer });
  for (const [name, answer] of Object.entries(IPAM_CAPABILITIES))
    methods.set(`IpamDriver.${name}`, { empty: true, answer });
  for (const name of networkNames) methods.set(`NetworkDriver.${name}`, later(parts.network, name));
  for (const name of ipamNames) methods.set(`IpamDriver.${name}`, later(parts.ipam, name));
  return methods;
}

function later(methods: Promise<Readonly<Record<string, Method>>>, name: string): Method {
  return {
    answer: async (body, call) => {
      const method = (await inTime(methods, call))[name];
      if (method === undefined) throw new Error(`no method ${name}`);
      return method.answer(body, call);
    },
  };
}

async function inTime<T>(promise: Promise<T>, { until }: Call): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = () => reject(operatorError("timeout", { action: "reading the state", timeoutMs: WAIT_MS }));
    timer = setTimeout(error, Math.max(0, until - performance.now()));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
