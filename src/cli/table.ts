/** Plain text tables and the words in them: columns as wide as their content, two blanks between. */

export type Row = readonly (string | number | undefined)[];

/** Returns lines without trailing blanks; undefined cells show as "-". */
export function table(head: readonly string[], rows: readonly Row[]): string {
  const cells = [head, ...rows].map(row => row.map(cell => (cell === undefined || cell === "" ? "-" : String(cell))));
  const widths = head.map((_, column) => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  return cells
    .map(row =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** 75 -> "1m15s", 90000 -> "1d1h": two units at most. */
export function duration(seconds: number | undefined): string | undefined {
  if (seconds === undefined || !Number.isFinite(seconds)) return undefined;
  const units: readonly (readonly [string, number])[] = [
    ["d", 86_400],
    ["h", 3600],
    ["m", 60],
    ["s", 1],
  ];
  let rest = Math.max(0, Math.floor(seconds));
  const parts: string[] = [];
  for (const [name, size] of units) {
    const count = Math.floor(rest / size);
    if (count > 0 && parts.length < 2) parts.push(`${count}${name}`);
    rest -= count * size;
  }
  return parts.length === 0 ? "0s" : parts.join("");
}

/** 1536 -> "1.5K": powers of 1024. */
export function size(bytes: number | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const units = ["", "K", "M", "G", "T", "P"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? String(value) : `${value.toFixed(value < 10 ? 1 : 0)}${units[unit]}`;
}

/** "24h" -> 86400; also d, m, s, and several in a row ("1d12h"). Undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+[dhms])+$/.test(text)) return undefined;
  const seconds: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1 };
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([dhms])/g)) total += Number(count) * (seconds[unit!] ?? 0);
  return Number.isSafeInteger(total) ? total : undefined;
}
