import type { RequestHandler } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { metricsScopes } from '../api/metrics.ts'
import { type Access, requireScope } from '../domain/access.ts'
import type { Metrics } from '../metrics.ts'
import { contextOf } from '../request.ts'

/** `/hub/metrics`, where Prometheus looks by default on a JupyterHub; takes tokens as well as cookies. */
export function metricsPage(deps: {
  readonly metrics: Metrics
  readonly access: Access
  readonly authenticatePrometheus: boolean
}): RequestHandler {
  const { metrics, access, authenticatePrometheus } = deps
  return async (req, res) => {
    if (authenticatePrometheus) {
      const caller = await contextOf(req).caller()
      if (!caller)
        throw new HubError(
          'not_authenticated',
          `Missing or invalid credentials; requires any of [${metricsScopes.join(', ')}]`,
        )
      await requireScope(access, caller, metricsScopes, { kind: 'none' })
    }
    const { text, type } = await metrics.read()
    res.set('Content-Type', type).end(text)
  }
}
