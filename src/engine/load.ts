/** Chooses the engine: native where its addon loads, else portable, and says why. */

import { loadEvp } from "../crypto/evp.ts";
import type { Engine } from "./engine.ts";
import { PortableEngine, type PortableOptions } from "./portable/portable.ts";

export type EngineChoice = "auto" | "native" | "portable";

/** What the wrapper of the native addon exports. */
interface NativeModule {
  readonly createNativeEngine: (options: PortableOptions) => Engine;
}

const NATIVE_MODULE = new URL("./native.ts", import.meta.url).href;

/** Throws when `choice` is "native" and the addon does not load, or when the port cannot be bound. */
export async function loadEngine(
  choice: EngineChoice,
  options: PortableOptions,
): Promise<{ readonly engine: Engine; readonly why: string }> {
  if (choice === "portable") return { engine: portable(options), why: "asked for" };
  let reason: string;
  try {
    const native = (await import(NATIVE_MODULE)) as NativeModule;
    return { engine: native.createNativeEngine(options), why: choice === "native" ? "asked for" : "the addon loads" };
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    reason = isMissing ? "this installation has none" : firstLine(error);
  }
  if (choice === "native") throw new Error(`no native engine: ${reason}`);
  return { engine: portable(options), why: `no native engine: ${reason}` };
}

/** With OpenSSL called directly where its symbols can be found, else with the AEADs that `options` brought. */
function portable(options: PortableOptions): PortableEngine {
  let { crypto } = options;
  try {
    crypto = loadEvp(crypto);
  } catch (error) {
    options.log?.(`engine: sealing through node:crypto, OpenSSL's own symbols are missing: ${firstLine(error)}`);
  }
  return new PortableEngine({ ...options, crypto });
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
