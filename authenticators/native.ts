import { createHash, randomBytes } from 'node:crypto'
import {
  type Authenticator,
  type AuthenticatorContext,
  defineAuthenticator,
  type Identity,
  type LoginForm,
  type LoginRequest,
  nameKey,
  type PageLink,
  passwordFields,
  type RouteVisit,
  type Verdict,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import { nameRule, nativePages } from './native-pages.ts'
import { PasswordHasher } from './password-hash.ts'
import { totpStep } from './totp.ts'

const schema = z.strictObject({
  /** Lets strangers sign up. Without it only those with an invitation can. */
  enableSignup: z.boolean().default(true),
  /** Approves new users without asking anybody. A rule such as `allowAll` must let them in. */
  openSignup: z.boolean().default(false),
  /** Counts the approval by an admin as a rule that lets somebody in. */
  allowApproved: z.boolean().default(true),
  /** Characters that a password has at least. */
  minimumPasswordLength: z.int().min(8).max(128).default(8),
  /** Refuses passwords that everybody tries first. */
  checkCommonPassword: z.boolean().default(true),
  /** Lets people add one-time codes to their password (TOTP). Needs `JUPYTERHUB_CRYPT_KEY`. */
  enableTotp: z.boolean().default(false),
  /** Cost of a password check: one more doubles its time and memory (2^15: 32 MiB). Less is for tests. */
  scryptCost: z.int().min(12).max(18).default(15),
  /** Sign-ups that may wait for approval. */
  maxPending: z.int().min(1).default(100),
})
export type NativeOptions = z.output<typeof schema>

/** What login and pages share. */
export interface NativeParts {
  readonly options: NativeOptions
  readonly context: AuthenticatorContext
  readonly hasher: PasswordHasher
  readonly invitations: Invitations
}

/**
 * Passwords of the hub's own: people sign up, an admin approves, and nobody needs an account
 * anywhere else. JupyterHub: NativeAuthenticator, of which it keeps the option names. A first admin
 * signs up with the link that `portico login-link` prints.
 */
export const native = defineAuthenticator({
  name: 'native',
  config: schema,
  allows: ({ allowApproved, openSignup }) => allowApproved && !openSignup,
  create(options, context) {
    if (options.enableTotp && !context.passwords.keepsSecrets)
      throw new HubError(
        'invalid_request',
        "authenticator.enableTotp needs JUPYTERHUB_CRYPT_KEY: take the output of 'openssl rand -hex 32'",
      )
    return new NativeAuthenticator({
      options,
      context,
      hasher: new PasswordHasher(options.scryptCost),
      invitations: new Invitations(),
    })
  },
})

class NativeAuthenticator implements Authenticator {
  readonly loginForm: LoginForm
  readonly routes: NonNullable<Authenticator['routes']>
  readonly #parts: NativeParts

  constructor(parts: NativeParts) {
    this.#parts = parts
    this.routes = nativePages(parts)
    this.loginForm = loginForm(parts)
  }

  async authenticate({ form }: LoginRequest): Promise<Verdict> {
    const name = nameKey((form['username'] ?? '').trim())
    if (!nameRule.test(name)) return { kind: 'denied', reason: 'no such name can sign up' }
    const problem = await this.#problemWith(name, form)
    return problem === null
      ? { kind: 'identified', identity: this.#identityOf(name) }
      : { kind: 'denied', reason: problem }
  }

  /** Null when the password is gone or not approved any more. */
  async refresh(identity: Identity): Promise<Identity | null> {
    const found = await this.#parts.context.passwords.find(identity.userName)
    return found?.approved ? identity : null
  }

  async allowedBy(userName: string): Promise<string | null> {
    const found = await this.#parts.context.passwords.find(userName)
    return found?.approved ? (this.#identityOf(userName).allowedBy ?? null) : null
  }

  accountLinks({ userName, admin }: Pick<RouteVisit, 'userName' | 'admin'>): readonly PageLink[] {
    const codes = { label: 'One-time codes', path: '/one-time-codes' }
    const own = [
      { label: 'Change your password', path: '/change-password' },
      ...(this.#parts.options.enableTotp ? [codes] : []),
    ]
    return [
      ...(userName === null ? [] : own),
      ...(admin ? [{ label: 'Sign-ups', path: '/signups' }] : []),
    ]
  }

  issueLink(): { readonly path: string; readonly expiresAt: Date } {
    const { code, expiresAt } = this.#parts.invitations.issue()
    return { path: `/signup#${code}`, expiresAt }
  }

  /** Why this person is not let in, or null. The hash is computed for everybody. */
  async #problemWith(name: string, form: LoginRequest['form']): Promise<string | null> {
    const { context, hasher } = this.#parts
    const { passwords } = context
    const password = form['password'] ?? ''
    const found = await passwords.find(name)
    const isRight = await hasher.matches(password, found?.passwordHash ?? null)
    if (!found) return 'nobody of this name has a password here'
    if (!isRight) return 'wrong password'
    if (!found.approved) return 'the sign-up has not been approved'
    if (found.totpSecret) {
      const step = totpStep(found.totpSecret, form['otp'] ?? '', new Date())
      if (step === null) return 'wrong one-time code'
      if (!(await passwords.takeTotpStep(name, step))) return 'the one-time code was used before'
    }
    if (hasher.isOutdated(found.passwordHash))
      await passwords.setPassword(name, await hasher.hash(password))
    return null
  }

  #identityOf(userName: string): Identity {
    const { allowApproved, openSignup } = this.#parts.options
    return {
      userName,
      ...(allowApproved && !openSignup ? { allowedBy: 'authenticator.allowApproved' } : {}),
    }
  }
}

function loginForm({ options, context }: NativeParts): LoginForm {
  const { enableSignup, enableTotp } = options
  const ownPrompt = enableTotp ? 'One-time code, if you have set one up' : null
  return {
    title: 'Log in',
    help: '',
    fields: passwordFields(context.otpPrompt ?? ownPrompt),
    failure: 'Invalid username or password, or the sign-up has not been approved yet',
    ...(enableSignup ? { links: [{ label: 'Sign up', path: '/signup' }] } : {}),
  }
}

/** Codes with which somebody signs up approved: 256 bits, ten minutes, one use. */
class Invitations {
  readonly #open = new Map<string, number>()
  readonly #lifetime = 10 * 60_000

  issue(): { readonly code: string; readonly expiresAt: Date } {
    const [oldest] = this.#open.keys()
    if (this.#open.size >= 20 && oldest !== undefined) this.#open.delete(oldest)
    const code = randomBytes(32).toString('base64url')
    this.#open.set(digest(code), performance.now() + this.#lifetime)
    return { code, expiresAt: new Date(Date.now() + this.#lifetime) }
  }

  /** Whether it is good; it is not used up by asking. */
  isOpen(code: string): boolean {
    return (this.#open.get(digest(code)) ?? 0) > performance.now()
  }

  /** Whether it was good; afterwards it is not. */
  redeem(code: string): boolean {
    const isOpen = this.isOpen(code)
    this.#open.delete(digest(code))
    return isOpen
  }
}

const digest = (code: string): string => createHash('sha256').update(code.trim()).digest('hex')
