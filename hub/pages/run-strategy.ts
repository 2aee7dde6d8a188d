import type { Request } from 'express'
import passport from 'passport'
import type { Identity, LoginStrategy } from '../../packages/core/authenticator.ts'
import { HubError } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'

/** How a strategy's part of a login ended. */
export type StrategyOutcome =
  | { readonly kind: 'redirect'; readonly url: URL }
  | { readonly kind: 'identified'; readonly identity: Identity }
  | { readonly kind: 'denied'; readonly reason: string }

/** Milliseconds that a strategy may take: it may ask its provider several things. */
const patience = 30_000

/**
 * Lets a passport strategy act on a request. `session` is the record of this attempt, which the
 * strategy may change; nothing is sent to the browser.
 * @throws what the strategy reports as an error, and {HubError} `unavailable` after `ms`.
 */
export async function runStrategy(
  strategy: LoginStrategy,
  req: Request,
  session: Record<string, unknown>,
  ms = patience,
): Promise<StrategyOutcome> {
  const outcome = new Promise<StrategyOutcome>((resolve, reject) => {
    // Passport writes into both.
    const own = Object.create(strategy) as passport.Strategy
    const request = Object.create(req, { session: { value: session } }) as Request
    const handle = passport.authenticate(
      own,
      { session: false },
      (error: unknown, identity?: unknown, info?: unknown) => {
        if (error) reject(asError(error))
        else if (identity) resolve({ kind: 'identified', identity: identity as Identity })
        else resolve({ kind: 'denied', reason: reasonOf(info) })
      },
    ) as (req: Request, res: object, next: (error?: unknown) => void) => void
    handle(request, redirection(resolve), (error) =>
      reject(asError(error ?? 'the strategy has not decided')),
    )
  })
  const settled = await Promise.race([outcome, after(ms)])
  if (settled) return settled
  throw new HubError('unavailable', 'The provider does not answer in time. Try again in a moment', {
    retryAfter: 10,
  })
}

/** The response as passport uses it: only to redirect. */
function redirection(resolve: (outcome: StrategyOutcome) => void): object {
  let location = ''
  return {
    setHeader(name: string, value: string) {
      if (name === 'Location') location = value
    },
    end: () => resolve({ kind: 'redirect', url: new URL(location) }),
  }
}

function reasonOf(info: unknown): string {
  const [first] = [info].flat() as unknown[]
  if (typeof first === 'string') return first
  const message: unknown = (first as { message?: unknown } | null | undefined)?.message
  return typeof message === 'string' ? message : 'the strategy gave no reason'
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
