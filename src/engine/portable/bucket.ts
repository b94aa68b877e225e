/** A token bucket in whole milliseconds and thousandths of a token, so that two engines refuse the same frame. */

export class Bucket {
  #perSecond: number;
  #level: number;
  #at: number;

  /** Starts full. The burst is one second's worth. */
  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond;
    this.#level = perSecond * 1_000;
    this.#at = now;
  }

  take(now: number): boolean {
    this.#fill(now);
    if (this.#level < 1_000) return false;
    this.#level -= 1_000;
    return true;
  }

  /** True when nothing has been taken for a while: forgetting it changes nothing. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#level === this.#perSecond * 1_000;
  }

  setRate(perSecond: number, now: number): void {
    this.#fill(now);
    this.#perSecond = perSecond;
    this.#level = Math.min(this.#level, perSecond * 1_000);
  }

  #fill(now: number): void {
    if (now <= this.#at) return;
    this.#level = Math.min(this.#perSecond * 1_000, this.#level + (now - this.#at) * this.#perSecond);
    this.#at = now;
  }
}
