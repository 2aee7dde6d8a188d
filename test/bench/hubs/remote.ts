import { createClient } from '../../../packages/client/index.ts'
import { BenchError, type BenchHub, type Contender } from '../contender.ts'

export interface RemoteOptions {
  readonly url: URL
  readonly token: string
  /** Default: the token's owner. */
  readonly user?: string
}

/** A hub that runs already, anywhere; it is left running. */
export function remote({ url, token, user }: RemoteOptions): Contender {
  const front = new URL(url.href.endsWith('/') ? url.href : `${url.href}/`)
  const name = front.host
  return {
    name,
    async start(): Promise<BenchHub> {
      if (front.protocol !== 'http:')
        throw new BenchError('--url: only http:// can be measured, such as the hub behind its TLS')
      const caller = await createClient({ url: front.href, token, timeout: 10 }).caller()
      return {
        contender: name,
        direct: null,
        front,
        token,
        user: user ?? caller.name,
        processes: null,
        startSeconds: null,
        startedAt: performance.now(),
        stop: async () => {},
      }
    },
  }
}
