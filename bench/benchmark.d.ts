/** The part of the `benchmark` package that is used here; it comes without types. */

declare module "benchmark" {
  export interface Result {
    readonly name: string;
    /** Runs per second. */
    readonly hz: number;
    /** What the run threw: the suite goes on without it. */
    readonly error: Error | undefined;
    /** Relative margin of error in percent. */
    readonly stats: { readonly rme: number };
  }

  export interface Options {
    /** Seconds. */
    readonly maxTime?: number;
  }

  export class Suite {
    add(name: string, run: () => void, options?: Options): this;
    on(event: "cycle", listener: (event: { readonly target: Result }) => void): this;
    run(): this;
  }

  const benchmark: { readonly Suite: typeof Suite };
  export default benchmark;
}
