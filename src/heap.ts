/** What is due, the earliest first: a binary heap. Equal times come in the order of their numbers. */

export interface Due {
  /** Milliseconds. */
  readonly at: number;
  readonly order: number;
}

export class Heap<Item extends Due> {
  #items: Item[] = [];
  readonly #counts: (item: Item) => boolean;

  /** What has been overtaken or taken back need not be looked for: it stays until it surfaces, and goes when it does not count any more. */
  constructor(counts: (item: Item) => boolean = always) {
    this.#counts = counts;
  }

  /** With those that do not count any more. */
  get size(): number {
    return this.#items.length;
  }

  /** The earliest that counts. */
  get first(): Item | undefined {
    for (let first = this.#items[0]; first !== undefined; first = this.#items[0]) {
      if (this.#counts(first)) return first;
      this.pop();
    }
    return undefined;
  }

  /** In no order that means anything. */
  items(): readonly Item[] {
    return this.#items;
  }

  push(item: Item): void {
    const items = this.#items;
    let place = items.length;
    items.push(item);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!before(item, items[parent]!)) break;
      items[place] = items[parent]!;
      place = parent;
    }
    items[place] = item;
  }

  /** Takes out what is at the top; `first` says whether it counts. */
  pop(): Item | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child += 1;
      if (!before(items[child]!, last)) break;
      items[place] = items[child]!;
      place = child;
    }
    items[place] = last;
    return first;
  }

  /** Takes these and nothing else. A sorted list is a heap. */
  refill(items: Iterable<Item>): void {
    this.#items = [...items].sort((a, b) => (before(a, b) ? -1 : 1));
  }
}

function always(): boolean {
  return true;
}

function before(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
