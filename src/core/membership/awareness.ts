/** How well this host itself is doing: a host that misses answers it should have had waits longer before it accuses (Lifeguard, LHA-Probe). */

/** Waits at most this many times longer: at 8, as Lifeguard has it, a cut-off host would need minutes to notice. */
const SCORE_MAX = 3;

export class Awareness {
  #score = 0;

  /** Multiplies timeouts: 1 when healthy. */
  factor(): number {
    return 1 + this.#score;
  }

  better(): void {
    this.#score = Math.max(0, this.#score - 1);
  }

  worse(by: number): void {
    this.#score = Math.min(SCORE_MAX, this.#score + by);
  }
}
