import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Request } from 'express'
import { runStrategy } from '../../../hub/pages/run-strategy.ts'

it('a login whose provider never answers ends in a 503 that says when to try again', async () => {
  const alive = setTimeout(() => {}, 60_000)
  const silent = { authenticate: () => {} }
  await assert.rejects(runStrategy(silent, { headers: {} } as Request, {}, 20), {
    code: 'unavailable',
    retryAfter: 10,
  })
  clearTimeout(alive)
})
