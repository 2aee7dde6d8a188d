import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Column, tableLines } from '../../../hub/commands/table.ts'

interface Row {
  readonly name: string
  readonly note: string
  readonly count: number
}

const columns: readonly Column<Row>[] = [
  { head: 'NAME', of: ({ name }) => name },
  { head: 'COUNT', of: ({ count }) => String(count), isNumber: true },
  { head: 'NOTE', of: ({ note }) => note },
]

const rows: readonly Row[] = [
  { name: 'ada', count: 7, note: 'short' },
  { name: '李雷', count: 12345, note: 'a note that is a good deal longer than the others' },
]

test('columns are aligned, numbers to the right, wide signs counted as two', () => {
  assert.deepEqual(tableLines(columns, rows, null), [
    'NAME  COUNT  NOTE',
    'ada       7  short',
    '李雷  12345  a note that is a good deal longer than the others',
  ])
})

test('on a terminal the widest column is cut, with bold heads where there are colours', () => {
  const lines = tableLines(columns, rows, { columns: 30, hasColours: true })
  assert.deepEqual(lines, [
    '\u001b[1mNAME  COUNT  NOTE\u001b[22m',
    'ada       7  short',
    '李雷  12345  a note that is a…',
  ])
})

test('a terminal of a few columns is no trouble', () => {
  for (const line of tableLines(columns, rows, { columns: 8, hasColours: false }))
    assert.ok(line.length <= 8, line)
})

test('what would steer a terminal is shown as what it is', () => {
  const [, line = ''] = tableLines(
    columns,
    [{ name: 'eve\u001b[2J', count: 1, note: 'two\nlines \u202e' }],
    { columns: 80, hasColours: true },
  )
  assert.equal(line, 'eve\\u001b[2J      1  two\\u000alines \\u202e')
})
