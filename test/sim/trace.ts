/** One number for everything that happened: two runs of one seed must agree on it (FNV-1a with a second, differently seeded lane). */

const PRIME = 0x01000193;
const PRIME_2 = 0x85ebca6b;

export class Trace {
  #a = 0x811c9dc5;
  #b = 0x9e3779b9;

  number(value: number): void {
    this.#mix(value | 0);
    if (value > 0x7fffffff || value < -0x80000000) this.#mix((value / 2 ** 32) | 0);
  }

  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
    this.#mix(-1);
  }

  bytes(bytes: Uint8Array, from = 0): void {
    const whole = from + ((bytes.length - from) & ~3);
    let a = this.#a;
    let b = this.#b;
    for (let i = from; i < whole; i += 4) {
      const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
      a = Math.imul(a ^ word, PRIME);
      a ^= a >>> 15;
      b = Math.imul(b ^ word, PRIME_2);
      b ^= b >>> 13;
    }
    this.#a = a;
    this.#b = b;
    for (let i = whole; i < bytes.length; i++) this.#mix(bytes[i]!);
    this.#mix(bytes.length);
  }

  get hash(): string {
    return [this.#a, this.#b].map(lane => (lane >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #mix(word: number): void {
    this.#a = Math.imul(this.#a ^ word, PRIME);
    this.#a ^= this.#a >>> 15;
    this.#b = Math.imul(this.#b ^ word, PRIME_2);
    this.#b ^= this.#b >>> 13;
  }
}
