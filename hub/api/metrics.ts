import type { Metrics } from '../metrics.ts'
import { type Endpoint, endpoint } from './endpoint.ts'

export interface MetricsApiDeps {
  readonly metrics: Metrics
  /** `hub.authenticatePrometheus`. */
  readonly authenticatePrometheus: boolean
}

/** The scopes that show the metrics, where they are asked for. */
export const metricsScopes = ['read:metrics'] as const

/** The hub's figures for Prometheus (wire sections 9 and 14). */
export function metricsEndpoints(deps: MetricsApiDeps): readonly Endpoint[] {
  const { metrics, authenticatePrometheus } = deps
  return [
    endpoint({
      method: 'GET',
      path: '/metrics',
      summary: 'Figures of the hub, in the text format of Prometheus',
      access: authenticatePrometheus
        ? { scopes: metricsScopes, on: 'none' }
        : { by: 'handler', scopes: [] },
      answers: { 200: 'The figures' },
      async handle() {
        const { text, type } = await metrics.read()
        return { kind: 'text', status: 200, text, type }
      },
    }),
  ]
}
