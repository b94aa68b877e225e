/** Chooses the engine: native where its addon loads, else portable, and says why. */

import { loadEvp } from "../crypto/evp.ts";
import type { Engine } from "./engine.ts";
import { createNativeEngine, loadAddon, type NativeAddon, type NativeOptions } from "./native.ts";
import { PortableEngine } from "./portable/portable.ts";

export type EngineChoice = "auto" | "native" | "portable";

/** Throws when `choice` is "native" and the addon does not load; SystemError when the port cannot be bound. */
export async function loadEngine(
  choice: EngineChoice,
  options: NativeOptions,
): Promise<{ readonly engine: Engine; readonly why: string }> {
  if (choice === "portable") return { engine: portable(options), why: "asked for" };
  let addon: NativeAddon;
  try {
    addon = loadAddon();
  } catch (error) {
    const why = `no native engine: ${firstLine(error)}`;
    if (choice === "native") throw new Error(why);
    return { engine: portable(options), why };
  }
  return { engine: createNativeEngine(addon, options), why: choice === "native" ? "asked for" : "the addon loads" };
}

/** With OpenSSL called directly where its symbols can be found, else with the AEADs that `options` brought. */
function portable(options: NativeOptions): PortableEngine {
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
