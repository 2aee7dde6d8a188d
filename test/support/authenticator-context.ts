import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type AuthenticatorContext, nameKey, type ProviderAccount } from 'portico/authenticator'
import { LoginGuard } from '../../hub/domain/login-guard.ts'
import { openDatabase } from '../../hub/store/database.ts'
import type { Cipher } from '../../hub/store/fernet.ts'
import { passwordStore } from '../../hub/store/native-passwords.ts'
import { roleStore } from '../../hub/store/roles.ts'
import { userStore } from '../../hub/store/users.ts'
import { defaultRoles } from '../../packages/core/scopes.ts'
import { temporaryFolder } from './folder.ts'
import { metrics } from './unwatched.ts'

/** A context whose log can be read. */
export interface RecordedContext extends AuthenticatorContext {
  /** Lines as `level message`. */
  readonly lines: readonly string[]
  /** What `endSessions` was asked for. */
  readonly ended: readonly ProviderAccount[]
  /** Whom `endLogins` was asked for. */
  readonly loggedOut: readonly string[]
}

export interface RecordedOptions {
  readonly manageGroups?: boolean
  readonly otpPrompt?: string
  readonly reserved?: readonly string[]
  readonly admins?: readonly string[]
  readonly cipher?: Cipher | null
  readonly clock?: () => Date
  readonly freeFailures?: number
  readonly publicUrl?: string
}

/** What the hub hands an authenticator, with a real database that is gone after the test. */
export async function authenticatorContext(
  t: TestContext,
  options: RecordedOptions = {},
): Promise<RecordedContext> {
  const {
    manageGroups = false,
    reserved = [],
    admins = [],
    cipher = null,
    clock = () => new Date(),
  } = options
  const { publicUrl = 'https://hub.test/' } = options
  const ended: ProviderAccount[] = []
  const loggedOut: string[] = []
  const database = await openDatabase(join(temporaryFolder(t), 'portico.sqlite'))
  t.after(() => database[Symbol.asyncDispose]())
  await roleStore(database).define(defaultRoles)
  const throttled = (): void => {}
  const { freeFailures = 10 } = options
  const guard = new LoginGuard({ refusalTime: 0, freeFailures, throttled, metrics })
  const lines: string[] = []
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`)
  return {
    lines,
    ended,
    loggedOut,
    log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    manageGroups,
    otpPrompt: options.otpPrompt ?? null,
    passwords: passwordStore(database, { cipher, clock, users: userStore(database) }),
    isReserved: (userName) => [...reserved, ...admins].includes(nameKey(userName)),
    attempt: (userName, peer) => guard.begin(userName, peer),
    isAdmin: (userName) => admins.includes(nameKey(userName)),
    endLogins(userName) {
      loggedOut.push(userName)
      return Promise.resolve()
    },
    publicUrl: (path) => new URL(`hub${path}`, publicUrl),
    endSessions(account) {
      ended.push(account)
      return Promise.resolve(1)
    },
  }
}
