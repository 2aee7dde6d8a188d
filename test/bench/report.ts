import type { Figure, Unit } from './subject.ts'

/** One figure of all contenders. */
export interface Row {
  readonly subject: string
  readonly label: string
  readonly unit: Unit
  /** Medians by contender. */
  readonly values: Readonly<Record<string, number>>
  /** How many times better the first contender is than the second, the median of all rounds; null when one is missing. */
  readonly ratio: number | null
}

/** Brings the rounds of one subject together. */
export function rowsOf(
  subject: string,
  contenders: readonly string[],
  rounds: ReadonlyMap<string, readonly (readonly Figure[])[]>,
): readonly Row[] {
  const all = contenders.flatMap((name) => (rounds.get(name) ?? []).flat())
  const labels = new Map(all.map(({ label, unit }) => [`${label} ${unit}`, { label, unit }]))
  return [...labels.values()].map(({ label, unit }) => {
    const all = contenders.map((name) =>
      (rounds.get(name) ?? [])
        .flat()
        .flatMap((figure) =>
          figure.label === label && figure.unit === unit ? [figure.value] : [],
        ),
    )
    const values = Object.fromEntries(
      contenders.flatMap((name, i) => (all[i]?.length ? [[name, median(all[i])]] : [])),
    )
    return { subject, label, unit, values, ratio: ratioOf(unit, all) }
  })
}

/** What the machine did in one round, it did to both. */
function ratioOf(unit: Unit, [ours = [], theirs = []]: readonly (readonly number[])[]) {
  const ratios = ours.flatMap((own, round) => {
    const peer = theirs[round]
    return peer === undefined ? [] : [unit === '1/s' ? own / peer : peer / own]
  })
  const ratio = median(ratios)
  return Number.isFinite(ratio) ? ratio : null
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length / 2
  const at = (index: number): number => sorted[index] ?? Number.NaN
  return sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2
}

/** A table for people: a heading per subject, a column per contender, the ratio last. */
export function table(rows: readonly Row[], contenders: readonly string[]): string {
  const hasRatio = rows.some(({ ratio }) => ratio !== null)
  const head = ['', '', ...contenders, ...(hasRatio ? ['better by'] : [])]
  const body = rows.flatMap((row, index) => {
    const isFirst = rows[index - 1]?.subject !== row.subject
    const line = [
      row.label,
      row.unit,
      ...contenders.map((name) => shortNumber(row.values[name])),
      ...(hasRatio ? [row.ratio === null ? '' : `${shortNumber(row.ratio)}x`] : []),
    ]
    return [...(isFirst ? [[], [row.subject]] : []), line]
  })
  const lines = [head, ...body]
  const widths = head.map((_, column) =>
    Math.max(...lines.map((line) => (line.length > 1 ? (line[column]?.length ?? 0) : 0))),
  )
  return lines
    .map((line) =>
      line
        .map((cell, column) => {
          const width = widths[column] ?? 0
          if (line.length === 1) return cell
          return column < 2
            ? `${column === 0 ? '  ' : ''}${cell.padEnd(width)}`
            : cell.padStart(width)
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Three significant digits, without an exponent. */
function shortNumber(value: number | undefined): string {
  if (value === undefined) return '-'
  const size = Math.abs(value)
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)
}
