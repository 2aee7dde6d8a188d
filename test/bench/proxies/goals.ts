import type { Row } from '../report.ts'

/** A figure that our proxy is to reach, beside others in the same run. */
interface Goal {
  readonly what: string
  /** NaN where it was not measured. */
  readonly is: (rows: Rows) => number
  readonly atMost?: number
  readonly atLeast?: number
}

/** Finds a row by the beginning of its label and, where numbers stand in between, by its end. */
type Rows = (beginning: string, end?: string) => Row | undefined

const smallGet = 'GET of 100 bytes, 32 connections: CPU each'

/** What ours costs as a share of CHP's. */
const share = (label: string) => (rows: Rows) => 1 / times(label)(rows)

/** How many times better than CHP. */
const times = (label: string) => (rows: Rows) => rows(label)?.ratio ?? NaN

const own = (label: string, end: string) => (rows: Rows) =>
  rows(label, end)?.values['Portico'] ?? NaN

function ofNginx(row: Row | undefined): number {
  return (row?.values['Portico'] ?? NaN) / (row?.values['nginx'] ?? NaN)
}

const goals: readonly Goal[] = [
  { what: 'CPU per small request, of CHP', is: share(smallGet), atMost: 0.33 },
  { what: 'CPU per small request, of nginx', is: (rows) => ofNginx(rows(smallGet)), atMost: 3 },
  { what: 'CPU per GiB down, of CHP', is: share('download: CPU'), atMost: 0.6 },
  { what: 'CPU per GiB up, of CHP', is: share('upload: CPU'), atMost: 0.8 },
  { what: 'memory per idle WebSocket, of CHP', is: share('one of '), atMost: 0.75 },
  { what: 'CPU to open a WebSocket, of CHP', is: share('opening one of '), atMost: 0.6 },
  { what: 'WebSocket messages/s, of CHP', is: times('WebSocket echo of 64 bytes, '), atLeast: 1.2 },
  { what: 'route adds/s, of CHP', is: times('routes added, 8 at a time'), atLeast: 1.5 },
  { what: 'CPU per request with all routes, of few', is: growth, atMost: 1.25 },
  {
    what: 'p99 while all routes are listed, ms',
    is: own('GET while ', 'listed: 99th percentile'),
    atMost: 20,
  },
  { what: 'sockets left after aborted requests', is: own('left after ', 'sockets'), atMost: 0 },
]

/** Both with the CPU of the same requests, among ten routes and among all. */
function growth(rows: Rows): number {
  const few = rows('GET with 10 routes')?.values['Portico'] ?? NaN
  const many = rows('GET with 1', '00000 routes: CPU each') ?? rows('GET with 10000 routes')
  return (many?.values['Portico'] ?? NaN) / few
}

/** One line for each goal that was measured: what it is, what it should be, and whether it is. */
export function goalLines(rows: readonly Row[]): string {
  const find: Rows = (beginning, end = '') =>
    rows.find(({ label }) => label.startsWith(beginning) && label.endsWith(end))
  return goals
    .flatMap(({ what, is, atMost = Infinity, atLeast = -Infinity }) => {
      const value = is(find)
      if (Number.isNaN(value)) return []
      const isReached = value <= atMost && value >= atLeast
      const bound = Number.isFinite(atMost) ? `at most ${atMost}` : `at least ${atLeast}`
      const shown = value.toFixed(2).padStart(8)
      return [`  ${what.padEnd(42)}${shown}   ${bound.padEnd(14)}${isReached ? 'yes' : 'NO'}`]
    })
    .join('\n')
}
