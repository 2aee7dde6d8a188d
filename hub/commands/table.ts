/** One column: its heading, and what a row says in it. */
export interface Column<Row> {
  readonly head: string
  readonly of: (row: Row) => string
  /** Numbers are aligned to the right. */
  readonly isNumber?: true
}

/** Where the table is shown; null when a file or a program reads it: nothing is cut or coloured then. */
export type Surface = { readonly columns: number; readonly hasColours: boolean } | null

const gap = '  '

/**
 * The lines of a table with its heads. On a terminal no line is wider than it: the widest columns
 * are cut first. Control characters are shown as escapes, since names and notes are anybody's.
 */
export function tableLines<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  surface: Surface,
): readonly string[] {
  const cells = [
    columns.map(({ head }) => head),
    ...rows.map((row) => columns.map(({ of }) => plain(of(row)))),
  ]
  const natural = columns.map((_, index) =>
    Math.max(...cells.map((row) => widthOf(row[index] ?? ''))),
  )
  const widths = surface ? fitted(natural, surface.columns) : natural
  const lines = cells.map((row) =>
    row
      .map((cell, index) => aligned(cell, widths[index] ?? 0, columns[index]?.isNumber ?? false))
      .join(gap)
      .trimEnd(),
  )
  return lines.map((line, index) =>
    index === 0 && surface?.hasColours ? `\u001b[1m${line}\u001b[22m` : line,
  )
}

/** Text that cannot steer a terminal. */
export function plain(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )
}

/** Takes from the widest column until all fit; what is left may be one sign wide. */
function fitted(natural: readonly number[], columns: number): readonly number[] {
  const widths = [...natural]
  const room = Math.max(columns - gap.length * (natural.length - 1), natural.length)
  const total = (): number => widths.reduce((sum, width) => sum + width, 0)
  for (let excess = total() - room; excess > 0; excess = total() - room) {
    const widest = Math.max(...widths)
    const index = widths.indexOf(widest)
    const second = Math.max(1, ...widths.filter((width) => width < widest))
    widths[index] = Math.max(second, widest - excess, widest === second ? widest - 1 : 1)
  }
  return widths
}

function aligned(cell: string, width: number, right: boolean): string {
  const shown = cut(cell, width)
  const padding = ' '.repeat(Math.max(0, width - widthOf(shown)))
  return right ? `${padding}${shown}` : `${shown}${padding}`
}

function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let shown = ''
  for (const sign of text) {
    if (widthOf(shown) + widthOf(sign) > width - 1) break
    shown += sign
  }
  return `${shown}…`
}

/** Columns of a terminal that text takes: two for the wide signs of East Asia and for pictures, none for marks. */
function widthOf(text: string): number {
  // eslint-disable-next-line no-control-regex
  if (/^[\u0020-\u024f]*$/.test(text)) return text.length
  let width = 0
  for (const sign of text) width += /\p{M}/u.test(sign) ? 0 : wide.test(sign) ? 2 : 1
  return width
}

const wide =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u
