import type { Json } from 'portico/spawner'
import {
  type Authenticator,
  type AuthenticatorContext,
  type Identity,
  type LoginStrategy,
  nameKey,
  type StoredPassword,
  type Verdict,
} from 'portico/authenticator'

/** One of several authenticators, and how its people are told from those of the others. */
export interface Member {
  /** A part of urls. */
  readonly name: string
  readonly label: string
  /** Empty, or ends with a colon. */
  readonly usernamePrefix: string
  /** What stands beside its field for a one-time password; null: it has none. */
  readonly otpPrompt: string | null
  readonly authenticator: Authenticator
}

type Names = Pick<Member, 'name' | 'usernamePrefix'>

/** The identity as the hub knows it, or why it cannot be told from another. */
export function outer({ name, usernamePrefix }: Names, identity: Identity): Identity | string {
  const { userName, groups } = identity
  if (nameKey(userName).includes(':')) return `the name holds a colon, which ends prefixes`
  const { authState, allowedBy } = identity
  const isRecord = typeof authState === 'object' && authState !== null && !Array.isArray(authState)
  return {
    ...identity,
    userName: `${usernamePrefix}${userName}`,
    ...(allowedBy === undefined ? {} : { allowedBy: `${name}: ${allowedBy}` }),
    ...(groups ? { groups: groups.map((group) => `${usernamePrefix}${group}`) } : {}),
    ...(isRecord
      ? { authState: { ...(authState as Record<string, Json>), portico_provider: name } }
      : {}),
  }
}

/** The identity as its own authenticator knows it. */
export function inner(member: Names, identity: Identity): Identity {
  const { groups, allowedBy } = identity
  return {
    ...identity,
    userName: innerName(member, identity.userName),
    ...(allowedBy === undefined ? {} : { allowedBy: withoutPrefix(allowedBy, `${member.name}: `) }),
    ...(groups ? { groups: groups.map((group) => innerName(member, group)) } : {}),
  }
}

const withoutPrefix = (text: string, prefix: string): string =>
  text.startsWith(prefix) ? text.slice(prefix.length) : text

export function innerName({ usernamePrefix }: Names, userName: string): string {
  return userName.slice(usernamePrefix.length)
}

/** Whether a user came from here. */
export function isOf({ usernamePrefix }: Names, userName: string): boolean {
  return usernamePrefix === '' ? !userName.includes(':') : userName.startsWith(usernamePrefix)
}

export function outerVerdict(member: Names, verdict: Verdict): Verdict {
  if (verdict.kind === 'denied')
    return { kind: 'denied', reason: `${member.name}: ${verdict.reason}` }
  const identity = outer(member, verdict.identity)
  return typeof identity === 'string'
    ? { kind: 'denied', reason: `${member.name}: ${identity}` }
    : { kind: 'identified', identity }
}

/** The hub as one of several sees it: with its own names and paths. */
export function contextOfMember(
  member: Omit<Member, 'authenticator'>,
  context: AuthenticatorContext,
): AuthenticatorContext {
  const { passwords, log } = context
  const out = (userName: string): string => `${member.usernamePrefix}${userName}`
  const own = (stored: StoredPassword): StoredPassword => ({
    ...stored,
    userName: innerName(member, stored.userName),
  })
  const says = (message: string): string => `${member.name}: ${message}`
  return {
    ...context,
    otpPrompt: member.otpPrompt,
    log: {
      debug: (message) => log.debug(says(message)),
      info: (message) => log.info(says(message)),
      warn: (message) => log.warn(says(message)),
      error: (message) => log.error(says(message)),
    },
    passwords: {
      keepsSecrets: passwords.keepsSecrets,
      async find(userName) {
        const stored = await passwords.find(out(userName))
        return stored && own(stored)
      },
      add: (userName, entry) => passwords.add(out(userName), entry),
      async pending(limit) {
        const all = await passwords.pending(limit)
        return all.filter(({ userName }) => isOf(member, userName)).map(own)
      },
      countPending: () => passwords.countPending(),
      approve: (userName) => passwords.approve(out(userName)),
      setPassword: (userName, hash) => passwords.setPassword(out(userName), hash),
      setTotpSecret: (userName, secret) => passwords.setTotpSecret(out(userName), secret),
      remove: (userName) => passwords.remove(out(userName)),
      takeTotpStep: (userName, step) => passwords.takeTotpStep(out(userName), step),
    },
    publicUrl: (path) => context.publicUrl(`/${member.name}${path}`),
    attempt: (userName, peer) => context.attempt(userName === null ? null : out(userName), peer),
    endLogins: (userName) => context.endLogins(out(userName)),
    endSessions: (account) => context.endSessions(account),
    isReserved: (userName) => context.isReserved(out(userName)),
    isAdmin: (userName) => context.isAdmin(out(userName)),
  }
}

/** What passport puts into a strategy before it calls it. */
interface Actions {
  success(identity: unknown, info?: unknown): void
  fail(reason: unknown, status?: number): void
  redirect(url: string, status?: number): void
  pass(): void
  error(error: unknown): void
}

/** The strategy, whose people get the names that they have here. */
export function memberStrategy(member: Names, strategy: LoginStrategy): LoginStrategy {
  return {
    authenticate(this: Actions, request: unknown, options?: unknown): unknown {
      const own = Object.create(strategy) as LoginStrategy
      const actions: Actions = {
        success: (identity, info) => {
          const known = outer(member, identity as Identity)
          if (typeof known === 'string') this.fail(`${member.name}: ${known}`)
          else this.success(known, info)
        },
        fail: (reason, status) => this.fail(reason, status),
        redirect: (url, status) => this.redirect(url, status),
        pass: () => this.pass(),
        error: (error) => this.error(error),
      }
      return Object.assign(own, actions).authenticate(request, options)
    },
  }
}
