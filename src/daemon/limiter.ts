/** Lets the first of many equal log lines through in each interval and counts the rest. */

import type { Millis } from "../core/machine.ts";

/** Subjects watched at once. Their names hold peers' ids and addresses, so the table needs an end; beyond it they share one place. */
export const LIMITER_SUBJECTS_MAX = 1024;
const REST = "";

interface Interval<Line> {
  readonly until: Millis;
  suppressed: number;
  last: Line;
}

export class Limiter<Line> {
  readonly #intervalMs: number;
  /** In the order in which the intervals end: all are of one length, and a new one goes to the back. */
  readonly #intervals = new Map<string, Interval<Line>>();

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** True when `line` about `subject` may be written now; false keeps and counts it. Call `expire` before. */
  admit(subject: string, line: Line, now: Millis): boolean {
    const place = this.#intervals.has(subject) || this.#intervals.size < LIMITER_SUBJECTS_MAX;
    const name = place ? subject : REST;
    const interval = this.#intervals.get(name);
    if (interval === undefined) {
      this.#intervals.set(name, { until: now + this.#intervalMs, suppressed: 0, last: line });
      return true;
    }
    interval.suppressed++;
    interval.last = line;
    return false;
  }

  /**
   * Ends the intervals that are over at `now` and returns the newest line each kept back, with the count of all it did.
   * Such a subject begins another interval at once: a flood makes one line per interval, not two.
   */
  expire(now: Millis): readonly { readonly line: Line; readonly suppressed: number }[] {
    const kept: { line: Line; suppressed: number }[] = [];
    for (const [subject, { until, suppressed, last }] of this.#intervals) {
      if (now < until) break;
      this.#intervals.delete(subject);
      if (suppressed === 0) continue;
      kept.push({ line: last, suppressed });
      this.#intervals.set(subject, { until: now + this.#intervalMs, suppressed: 0, last });
    }
    return kept;
  }

  /** When the next interval ends; undefined while nothing is watched. */
  deadline(): Millis | undefined {
    return this.#intervals.values().next().value?.until;
  }
}
