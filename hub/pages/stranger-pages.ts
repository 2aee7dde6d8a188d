import { randomBytes } from 'node:crypto'
import { BoundedMap } from '../../packages/core/bounded-map.ts'
import type { Render } from './render.ts'

/** What is new in every answer. */
export interface FreshValues {
  readonly xsrfToken: string
  /** Made only where the page shows it. */
  readonly requestId: () => string
}

/** Most pages kept, and the longest data that one of them may depend on, in characters. */
const capacity = 100
const longestKey = 4_000

/**
 * Pages for people who are not logged in, each rendered once: a login page is asked for all day, and
 * only the values that are new in every answer are put into it. These must be plain text that no
 * view changes on its way into the page.
 */
export function createStrangerPages(render: Render) {
  const kept = new BoundedMap<string, string>(capacity)
  const mark = (name: string): string => `${name}${randomBytes(16).toString('hex')}`
  const marks = { xsrfToken: mark('x'), requestId: mark('r'), now: mark('n') }
  const places = new RegExp(Object.values(marks).join('|'), 'g')

  const templateOf = (view: string, data: object): string => {
    const key = `${view} ${JSON.stringify(data)}`
    const known = kept.get(key)
    if (known !== undefined) return known
    const html = render(view, { user: null, services: [], ...marks, ...data })
    if (key.length > longestKey) return html
    kept.set(key, html)
    return html
  }

  return (view: string, data: object, fresh: FreshValues): string => {
    const valueOf = (found: string): string => {
      if (found === marks.xsrfToken) return fresh.xsrfToken
      return found === marks.requestId ? fresh.requestId() : new Date().toISOString()
    }
    return templateOf(view, data).replace(places, valueOf)
  }
}
