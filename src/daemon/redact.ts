/** What may be logged of a value: no key, token or passphrase, nothing endless, always JSON. */

/** Longer text is cut: a line of the journal ends at 48 KiB (journald.conf(5), LineMax=). */
const TEXT_CHARS_MAX = 2000;
const DEPTH_MAX = 4;
const ITEMS_MAX = 64;

/** Join tokens as they are printed, wherever in a text they stand. */
const TOKEN = /ovl1\.[A-Za-z0-9_-]+/g;
const SECRET_NAME = /token|secret|pass(phrase|word)|psk|seed|private/i;
/** `tokenId`, `pskGeneration` and the like name a secret and hold none. */
const PUBLIC_NAME = /(id|ids|generation|count)$/i;

export function redactText(text: string): string {
  const open = text.replace(TOKEN, "ovl1.[redacted]");
  return open.length > TEXT_CHARS_MAX ? `${open.slice(0, TEXT_CHARS_MAX)}…` : open;
}

/** Fields as they may be logged. Bytes never show, only how many there are: every key of ours is bytes. */
export function redactFields(fields: Readonly<Record<string, unknown>>, depth = 0): Record<string, unknown> {
  const entries = Object.entries(fields).slice(0, ITEMS_MAX);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, isSecret(name, value) ? "[redacted]" : redact(value, depth)]),
  );
}

function isSecret(name: string, value: unknown): boolean {
  if (typeof value === "number" || typeof value === "boolean" || value === undefined) return false;
  return SECRET_NAME.test(name) && !PUBLIC_NAME.test(name);
}

function redact(value: unknown, depth: number): unknown {
  if (typeof value === "string") return redactText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (value instanceof Error) return redactError(value, depth);
  if (depth >= DEPTH_MAX) return "…";
  if (value instanceof Map) return redactFields(Object.fromEntries(value), depth + 1);
  if (Array.isArray(value) || value instanceof Set) {
    return [...value].slice(0, ITEMS_MAX).map(item => redact(item, depth + 1));
  }
  return redactFields(value as Record<string, unknown>, depth + 1);
}

function redactError(error: Error, depth: number): unknown {
  const { code } = error as NodeJS.ErrnoException;
  return {
    name: error.name,
    ...(typeof code === "string" ? { code } : {}),
    message: redactText(error.message),
    stack: redactText(error.stack ?? ""),
    ...(error.cause === undefined || depth >= DEPTH_MAX ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}
