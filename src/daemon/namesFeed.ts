/** `GET /v1/names/stream`: for each attached network all its names, at the start and whenever they change. */

import { NAME_TYPE } from "../core/naming/names.ts";
import type { Notice } from "../core/notice.ts";
import type { NamesEvent } from "./addressViews.ts";
import { operatorError } from "./errors.ts";

/** The Docker integration, and a person who looks. */
const LISTENERS_MAX = 8;
/** Changes come in bursts, when containers or hosts start together; a resolver may be so much behind. */
const PAUSE_MS = 50;
/** Where nothing is known to have changed it is looked at all the same: who lives is decided by time too. */
const LOOK_MS = 2_000;

export class NamesFeed {
  /** Names of all attached networks, as they are now. */
  readonly #read: () => readonly NamesEvent[];
  readonly #listeners = new Set<Listener>();
  #timer: NodeJS.Timeout | undefined;

  constructor(read: () => readonly NamesEvent[]) {
    this.#read = read;
  }

  /** Takes what the core says; most of it is not about names. */
  hear(notices: readonly Notice[]): void {
    if (notices.some(concernsNames)) this.touch();
  }

  /** Something that names depend on may have changed. */
  touch(): void {
    if (this.#listeners.size === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = this.#read();
      for (const listener of this.#listeners) listener.show(now);
    }, PAUSE_MS);
    this.#timer.unref();
  }

  /** Ends when `signal` is aborted. Throws `busy`. */
  listen(signal: AbortSignal): AsyncIterable<NamesEvent> {
    if (this.#listeners.size >= LISTENERS_MAX)
      throw operatorError("busy", { what: "listeners for names", max: LISTENERS_MAX });
    const listener = new Listener();
    const look = setInterval(() => this.touch(), LOOK_MS);
    look.unref();
    const end = () => {
      clearInterval(look);
      this.#listeners.delete(listener);
      listener.end();
    };
    this.#listeners.add(listener);
    listener.show(this.#read());
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    return listener;
  }
}

function concernsNames(notice: Notice): boolean {
  switch (notice.kind) {
    case "record":
      return notice.type === NAME_TYPE || notice.type === "attachment" || notice.type === "host";
    case "owner.reset":
    case "member.alive":
    case "member.dead":
    case "identity":
      return true;
    default:
      return false;
  }
}

/** Holds at most one list per network: whoever is slow misses what lies between, and nothing else. */
class Listener implements AsyncIterable<NamesEvent> {
  readonly #waiting = new Map<string, NamesEvent>();
  readonly #shown = new Map<string, string>();
  #wake: (() => void) | undefined;
  #ended = false;

  show(all: readonly NamesEvent[]): void {
    const present = new Set(all.map(({ network }) => network));
    const gone = [...this.#shown.keys()].filter(network => !present.has(network));
    for (const event of [...all, ...gone.map(network => ({ network, names: [] }))]) {
      const text = JSON.stringify(event);
      if (this.#shown.get(event.network) === text) continue;
      this.#shown.set(event.network, text);
      this.#waiting.set(event.network, event);
    }
    for (const network of gone) this.#shown.delete(network);
    if (this.#waiting.size > 0) this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<NamesEvent> {
    for (;;) {
      const [network, event] = this.#waiting.entries().next().value ?? [];
      if (network !== undefined && event !== undefined) {
        this.#waiting.delete(network);
        yield event;
      } else if (this.#ended) return;
      else await new Promise<void>(resolve => (this.#wake = resolve));
    }
  }
}
