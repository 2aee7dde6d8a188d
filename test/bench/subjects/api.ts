import { measureRequests } from '../measure.ts'
import type { Figure, Subject } from '../subject.ts'

/** The request that scripts and services make most: one user's model, with a token. */
export const api: Subject = {
  name: 'api',
  summary: 'GET /hub/api/users/NAME with a token, straight and through the proxy',
  applies: () => true,
  rounds: (isQuick) => (isQuick ? 1 : 2),
  async measure(bench) {
    const { hub } = bench
    const figures: Figure[] = []
    for (const [way, base] of [
      ['straight', hub.direct],
      ['proxied', hub.front],
    ] as const)
      for (const connections of [1, 32])
        if (base)
          figures.push(
            ...(await measureRequests(bench, {
              label: `${way}, ${connections} connection${connections === 1 ? '' : 's'}`,
              url: new URL(`hub/api/users/${encodeURIComponent(hub.user)}`, base),
              headers: { Authorization: `token ${hub.token}` },
              connections,
            })),
          )
    return figures
  },
}
