/** What is said of several measurements of one thing. */

/** The middle one; of an even number the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Half the distance between the extremes, of the median, in percent: how far to trust a median. */
export function spreadPercent(values: readonly number[]): number {
  return (50 * (Math.max(...values) - Math.min(...values))) / median(values);
}
