import { measureRequests } from '../measure.ts'
import type { Subject } from '../subject.ts'

/** The login form as a browser without cookies gets it. */
export const login: Subject = {
  name: 'login',
  summary: 'GET /hub/login, the login form',
  applies: () => true,
  rounds: (isQuick) => (isQuick ? 1 : 2),
  measure: (bench) =>
    measureRequests(bench, {
      label: '32 connections',
      url: new URL('hub/login', bench.hub.direct ?? bench.hub.front),
      headers: { Accept: 'text/html' },
      connections: 32,
    }),
}
