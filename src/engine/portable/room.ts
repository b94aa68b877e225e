/** Places shared by many queues, so that their sum is bounded as well as each of them. */

export class Room {
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  take(): boolean {
    if (this.#free === 0) return false;
    this.#free -= 1;
    return true;
  }

  give(places: number): void {
    this.#free += places;
  }
}
