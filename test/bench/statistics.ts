/** The value below which this share of the values lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

/**
 * The probability of a difference at least as large between two samples of one distribution: the
 * Mann-Whitney U-test, two-sided, by the normal approximation; good from about eight values each.
 */
export function mannWhitney(left: readonly number[], right: readonly number[]): number {
  let wins = 0
  for (const one of left)
    for (const other of right) wins += one > other ? 1 : one === other ? 0.5 : 0
  const pairs = left.length * right.length
  const deviation = Math.sqrt((pairs * (left.length + right.length + 1)) / 12)
  return 2 * (1 - normal(Math.abs(wins - pairs / 2) / deviation))
}

/** The standard normal distribution (Abramowitz and Stegun, 26.2.17). */
function normal(z: number): number {
  const t = 1 / (1 + 0.2316419 * z)
  const factors = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429]
  const sum = factors.reduce((total, factor, index) => total + factor * t ** (index + 1), 0)
  return 1 - (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * sum
}
