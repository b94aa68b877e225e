/** Horizontal bars as plain SVG: no script, no font, readable on white and on black. */

export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly digits: number;
  readonly series: readonly string[];
  readonly rows: readonly ChartRow[];
}

export interface ChartRow {
  readonly label: string;
  /** One per series; undefined: not measured. */
  readonly values: readonly (number | undefined)[];
}

const WIDTH = 760;
const LABELS = 190;
const VALUES = 80;
const BAR = 13;
const GAP = 9;
const TOP = 34;
const LEGEND = 24;
/** Enough contrast to both backgrounds; the second differs from the first in lightness too. */
const COLOURS = ["#2f81d6", "#e0852b", "#4d9e5f", "#a371c9"];
const OWN = /^overlayd/;
const STYLE =
  "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.own{font-weight:700}" +
  "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}";

export function barChart(chart: Chart): string {
  const max = Math.max(...chart.rows.flatMap(({ values }) => values.map(value => value ?? 0)), Number.MIN_VALUE);
  const rowHeight = chart.series.length * BAR + GAP;
  const hasLegend = chart.series.length > 1;
  const top = TOP + (hasLegend ? LEGEND : 0);
  const height = top + chart.rows.length * rowHeight + 4;
  const rows = chart.rows.map((row, i) => bars(chart, row, top + i * rowHeight, max)).join("");
  const size = `width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}"`;
  const title = `<text class="title" x="0" y="18">${escaped(`${chart.title} (${chart.unit})`)}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img"><title>${escaped(chart.title)}</title><style>${STYLE}</style>\n${title}\n${
    hasLegend ? legend(chart.series) : ""
  }${rows}</svg>\n`;
}

function legend(series: readonly string[]): string {
  const entries = series.map((name, i) => {
    const x = LABELS + i * 150;
    return `<rect x="${x}" y="30" width="11" height="11" rx="2" fill="${COLOURS[i % COLOURS.length]}"/><text x="${x + 17}" y="40">${escaped(name)}</text>`;
  });
  return `${entries.join("")}\n`;
}

function bars({ digits }: Chart, { label, values }: ChartRow, y: number, max: number): string {
  const own = OWN.test(label) ? ' class="own"' : "";
  const middle = y + (values.length * BAR) / 2 + 4;
  const name = `<text${own} x="${LABELS - 10}" y="${middle}" text-anchor="end">${escaped(label)}</text>`;
  const drawn = values.map((value, i) => {
    const top = y + i * BAR;
    if (value === undefined || Number.isNaN(value)) return `<text x="${LABELS + 4}" y="${top + 11}">–</text>`;
    const width = Math.max(1, ((WIDTH - LABELS - VALUES) * value) / max).toFixed(1);
    const text = `<text${own} x="${LABELS + Number(width) + 6}" y="${top + 11}">${value.toFixed(digits)}</text>`;
    return `<rect x="${LABELS}" y="${top}" width="${width}" height="${BAR - 1}" rx="2" fill="${COLOURS[i % COLOURS.length]}"/>${text}`;
  });
  return `${name}${drawn.join("")}\n`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
