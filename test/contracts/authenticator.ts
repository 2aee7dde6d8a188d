import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type {
  Authenticator,
  AuthenticatorDriver,
  LoginRequest,
  RouteLogin,
  Verdict,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { authenticatorContext, type RecordedContext } from '../support/authenticator-context.ts'

/** How the suite makes an authenticator of one kind. */
export interface AuthenticatorKind {
  readonly driver: AuthenticatorDriver
  /** Options as in a config file. */
  readonly options: Readonly<Record<string, unknown>>
  /** Called after `create`, for example to sign somebody up. */
  readonly prepare?: (context: RecordedContext, authenticator: Authenticator) => Promise<void>
  /** A login that is right, and the name it must lead to. Absent: nobody logs in by the form. */
  readonly right?: () => Partial<LoginRequest> & { readonly userName: string }
  /** The same person with a secret that is wrong. */
  readonly wrong?: () => Partial<LoginRequest>
}

/** Longest wait for one verdict, in ms: the machine is shared. */
const patience = 60_000

/** A request with everything that is not given. */
export function loginRequest(given: Partial<LoginRequest> = {}): LoginRequest {
  return {
    form: {},
    headers: {},
    peerAddress: '127.0.0.1',
    signal: AbortSignal.timeout(patience),
    ...given,
  }
}

/** What a route of an authenticator comes to. */
export async function settledVerdict({ verdict }: Pick<RouteLogin, 'verdict'>): Promise<Verdict> {
  return typeof verdict === 'function' ? verdict(AbortSignal.timeout(patience)) : verdict
}

/** An authenticator as the hub makes it from a config, closed after the test. */
export async function createAuthenticator(
  t: TestContext,
  driver: AuthenticatorDriver,
  options: Readonly<Record<string, unknown>>,
  given?: RecordedContext,
): Promise<{ readonly authenticator: Authenticator; readonly context: RecordedContext }> {
  const context = given ?? (await authenticatorContext(t))
  const authenticator = await driver.create(driver.config.parse(options), context)
  t.after(() => authenticator.close?.())
  return { authenticator, context }
}

const texts = [
  '',
  ' ',
  '-',
  '--help',
  '-oProxyCommand=x',
  '.',
  '..',
  '/',
  '../../etc/passwd',
  '*',
  'a)(uid=*',
  'x,ou=y',
  '{username}',
  '%s%n',
  '$(id)',
  "' OR 1=1 --",
  'ada\0evil',
  '\0',
  'ada\nroot',
  'ａｄａ',
  '\u212Aelvin',
  '\u0130',
  'a\u200Bda',
  '\u{1F600}',
  '\uD800',
  '__proto__',
  'constructor',
  'x'.repeat(255),
  'ä'.repeat(2_000),
] as const

/** What every authenticator promises. Call it from the authenticator's own test file. */
export function authenticatorContract(
  name: string,
  make: (t: TestContext) => AuthenticatorKind | Promise<AuthenticatorKind>,
): void {
  async function subject(t: TestContext) {
    const kind = await make(t)
    const made = await createAuthenticator(t, kind.driver, kind.options)
    await kind.prepare?.(made.context, made.authenticator)
    return { ...kind, ...made }
  }

  describe(`${name} keeps the authenticator contract`, () => {
    it('refuses options it does not know', async (t) => {
      const { driver, options } = await make(t)
      assert.equal(driver.config.safeParse(options).success, true)
      assert.equal(driver.config.safeParse({ ...options, noSuchOption: 1 }).success, false)
    })

    it('identifies who is right, and denies who is wrong without telling the secret', async (t) => {
      const { authenticator, right, wrong, context } = await subject(t)
      if (!right) return
      const { userName, ...request } = right()
      const verdict = await authenticator.authenticate(loginRequest(request))
      assert.equal(verdict.kind, 'identified', reasonOf(verdict))
      assert.equal(verdict.identity.userName, userName)
      if (!wrong) return
      const refused = loginRequest(wrong())
      const denied = await authenticator.authenticate(refused)
      assert.equal(denied.kind, 'denied')
      assert.ok(denied.reason.length > 3)
      const { username: _name, ...secrets } = refused.form
      for (const secret of Object.values(secrets).filter((value) => value.length > 3))
        for (const line of [denied.reason, ...context.lines])
          assert.ok(!line.includes(secret), `a secret is in: ${line}`)
    })

    it('denies a login with nothing in it', async (t) => {
      const { authenticator } = await subject(t)
      assert.equal((await authenticator.authenticate(loginRequest())).kind, 'denied')
    })

    it('meets hostile names and secrets with a verdict, never with a fault', async (t) => {
      const { authenticator, right } = await subject(t)
      const known = right?.().form ?? {}
      const forms: Readonly<Record<string, string>>[] = texts.flatMap((text, index) => [
        { username: text, password: `${text}!` },
        ...(index % 4 === 1 ? [{ ...known, username: text }] : []),
        ...(index % 4 === 3 ? [{ ...known, password: `${text}!` }] : []),
      ])
      const verdicts = await inTurns(forms, 4, (form) => verdictOf(authenticator, { form }))
      for (const [index, verdict] of verdicts.entries()) {
        const typed = forms[index]?.['username']
        // The hub refuses such a name; as another one it would not.
        if (verdict.kind === 'identified' && typed?.includes('\0'))
          assert.equal(verdict.identity.userName, typed)
      }
    })

    it('gives each of many at once their own answer', async (t) => {
      const { authenticator, right, wrong } = await subject(t)
      if (!right || !wrong) return
      const turns = Array.from({ length: 12 }, (_, index) => index % 2 === 0)
      const verdicts = await Promise.all(
        turns.map((isRight) => verdictOf(authenticator, isRight ? right() : wrong())),
      )
      assert.deepEqual(
        verdicts.map(({ kind }) => kind),
        turns.map((isRight) => (isRight ? 'identified' : 'denied')),
      )
    })

    it('ends when the browser has gone', async (t) => {
      const { authenticator, wrong } = await subject(t)
      const controller = new AbortController()
      const request = loginRequest({ ...wrong?.(), signal: controller.signal })
      const ended = authenticator.authenticate(request).then(
        ({ kind }) => kind,
        () => 'denied',
      )
      controller.abort()
      assert.equal(await ended, 'denied')
    })

    it('refreshes to the same person or to nobody', async (t) => {
      const { authenticator, right } = await subject(t)
      if (!right || !authenticator.refresh) return
      const verdict = await authenticator.authenticate(loginRequest(right()))
      assert.equal(verdict.kind, 'identified', reasonOf(verdict))
      const { userName, issuer, subject: id } = verdict.identity
      const again = await authenticator.refresh(verdict.identity)
      assert.ok(again, 'somebody who has just logged in is fresh')
      assert.deepEqual([again.userName, again.issuer, again.subject], [userName, issuer, id])
    })

    it('has routes and fields that the hub can serve', async (t) => {
      const { authenticator } = await subject(t)
      const { routes = [], loginForm } = authenticator
      const places = routes.map(({ method, path }) => `${method} ${path}`)
      assert.deepEqual(places, [...new Set(places)])
      for (const { path } of routes) assert.match(path, /^\/[\w\-/.]+$/)
      const fields = loginForm?.fields.map((field) => field.name) ?? []
      assert.deepEqual(fields, [...new Set(fields)])
      assert.ok(!fields.includes('_xsrf'))
    })

    it('may be closed twice', async (t) => {
      const { authenticator } = await subject(t)
      await authenticator.close?.()
      await authenticator.close?.()
    })
  })
}

function reasonOf(verdict: Verdict): string {
  return verdict.kind === 'denied' ? verdict.reason : ''
}

/** A verdict; the only throws that count as one are those that the browser may see. */
async function verdictOf(
  authenticator: Authenticator,
  given: Partial<LoginRequest>,
): Promise<Verdict> {
  try {
    return await authenticator.authenticate(loginRequest(given))
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    return { kind: 'denied', reason: error.message }
  }
}

/** Runs `work` on all items, at most `width` at a time. */
async function inTurns<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: width }, worker))
  return results
}
