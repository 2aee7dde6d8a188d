import { existsSync } from 'node:fs'
import {
  type Authenticator,
  type AuthenticatorContext,
  defineAuthenticator,
  type Identity,
  nameKey,
  type Verdict,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import type { PamReply, PamRequest } from './libpam.ts'
import { ensureAccount, localAccountOptions } from './local-accounts.ts'
import { WorkerPool } from './worker-pool.ts'

const groups = z.array(z.string().min(1)).default([])

const options = {
  /**
   * The PAM service: a file in `/etc/pam.d`. `examples/pam` has one to copy; `login` is made for
   * terminals. JupyterHub: `login`.
   */
  service: z
    .string()
    .regex(/^[\w][\w.-]*$/, 'is the name of a file in /etc/pam.d, without a path')
    .default('portico'),
  /** Who may come in beside `allowedUsers`: members of these groups of the machine. */
  allowedGroups: groups,
  /** Their members are admins, and others are not, unless `adminUsers` names them. */
  adminGroups: groups,
  /** Takes the name that the machine has for the account, rather than the typed one in lower case. */
  pamNormalizeUsername: z.boolean().default(false),
  /** Processes that ask PAM at most, each one login at a time. One is always there. */
  executorThreads: z.int().min(1).max(64).default(4),
  /** Logins that may wait for one of them; further ones get 503. No JupyterHub name. */
  maxWaiting: z.int().min(0).default(64),
  /** Seconds that PAM may take for one login. No JupyterHub name. */
  timeout: z.number().positive().max(25).default(20),
  /** Always: else expired and locked accounts could log in. */
  checkAccount: z
    .literal(true, {
      error: 'cannot be turned off: expired and locked accounts could log in (rule A2-33)',
    })
    .default(true),
  /** Never by the hub: a session that it opened would be the hub's own. */
  openSessions: z
    .literal(false, {
      error:
        'must be false: a session belongs to the process of the server, and one that the hub opened would change the hub itself (rule A2-34)',
    })
    .default(false),
  ...localAccountOptions,
}

const schema = z.strictObject(options)
type Options = z.output<typeof schema>
type PamPool = WorkerPool<PamRequest, PamReply>

/**
 * Accounts of the machine the hub runs on, through Linux-PAM. The hub runs as root, or as an
 * account in the group `shadow`; without either, only its own account can be checked. JupyterHub:
 * PAMAuthenticator, of which it keeps the option names.
 */
export const pam = defineAuthenticator({
  name: 'pam',
  config: schema,
  async create(config, context) {
    checkService(config.service)
    const { executorThreads: workers, maxWaiting: waiting, timeout } = config
    const pool: PamPool = new WorkerPool({
      program: 'authenticators/pam-worker',
      what: 'PAM',
      workers,
      waiting,
      patience: timeout * 1_000,
      log: context.log,
    })
    try {
      await pool.open()
    } catch (error) {
      await pool.close()
      throw new HubError('unavailable', 'PAM cannot be used: is libpam.so.0 installed?', {
        cause: error,
      })
    }
    return new PamAuthenticator(config, pool, context)
  },
})

class PamAuthenticator implements Authenticator {
  readonly #config: Options
  readonly #pool: PamPool
  readonly #context: AuthenticatorContext
  readonly #unknownGroups = new Set<string>()

  constructor(config: Options, pool: PamPool, context: AuthenticatorContext) {
    this.#config = config
    this.#pool = pool
    this.#context = context
  }

  async authenticate(request: Parameters<Authenticator['authenticate']>[0]): Promise<Verdict> {
    const { form, peerAddress, signal } = request
    const name = this.#spelling(form['username'] ?? '')
    const secrets = [
      form['password'] ?? '',
      // For modules that prompt twice.
      ...(this.#context.otpPrompt === null ? [] : [form['otp'] ?? '']),
    ]
    const problem = problemOf(name, secrets)
    if (problem !== null) return { kind: 'denied', reason: problem }
    const answers = secrets.map((secret) => new TextEncoder().encode(secret))
    const reply = await this.#ask({ name, answers, peerAddress }, signal)
    if (reply.kind === 'accepted') return { kind: 'identified', identity: this.#identity(reply) }
    return { kind: 'denied', reason: reply.reason }
  }

  /** Null when the account is gone, locked or expired by now. */
  async refresh(identity: Identity): Promise<Identity | null> {
    const reply = await this.#lookUp(identity.userName)
    if (reply === null || nameKey(reply.name) !== nameKey(identity.userName)) return null
    const { allowedBy: _before, ...rest } = identity
    return { ...rest, ...this.#identity(reply) }
  }

  async allowedBy(userName: string): Promise<string | null> {
    if (this.#config.allowedGroups.length === 0) return null
    const reply = await this.#lookUp(userName)
    return reply ? (this.#identity(reply).allowedBy ?? null) : null
  }

  addUser(userName: string): Promise<void> {
    return ensureAccount(this.#config, userName)
  }

  close(): Promise<void> {
    return this.#pool.close()
  }

  #spelling(typed: string): string {
    return this.#config.pamNormalizeUsername ? typed.trim() : nameKey(typed.trim())
  }

  async #lookUp(name: string): Promise<(PamReply & { readonly kind: 'accepted' }) | null> {
    if (problemOf(name, ['-']) !== null) return null
    const signal = AbortSignal.timeout(this.#config.timeout * 2_000)
    const reply = await this.#ask({ name, answers: null, peerAddress: '' }, signal)
    return reply.kind === 'accepted' ? reply : null
  }

  async #ask(
    question: Pick<PamRequest, 'name' | 'answers' | 'peerAddress'>,
    signal: AbortSignal,
  ): Promise<Exclude<PamReply, { kind: 'failed' }>> {
    const { service, pamNormalizeUsername, allowedGroups, adminGroups } = this.#config
    const request = {
      ...question,
      service,
      canonical: pamNormalizeUsername,
      groups: [...new Set([...allowedGroups, ...adminGroups])],
      allGroups: this.#context.manageGroups,
    }
    try {
      const reply = await this.#pool.ask(request, signal)
      if (reply.kind === 'failed') throw new Error(reply.message)
      return reply
    } finally {
      for (const secret of question.answers ?? []) secret.fill(0)
    }
  }

  #identity(reply: PamReply & { readonly kind: 'accepted' }): Identity {
    const { allowedGroups, adminGroups } = this.#config
    for (const group of reply.unknownGroups) this.#reportUnknown(group)
    const letsIn = allowedGroups.find((group) => reply.memberOf.includes(group))
    return {
      userName: reply.name,
      ...(letsIn === undefined ? {} : { allowedBy: `authenticator.allowedGroups (${letsIn})` }),
      ...(adminGroups.length === 0
        ? {}
        : { admin: adminGroups.some((group) => reply.memberOf.includes(group)) }),
      // Without an account here there are no groups, and none may stay.
      ...(this.#context.manageGroups ? { groups: reply.allGroups ?? [] } : {}),
    }
  }

  #reportUnknown(group: string): void {
    if (this.#unknownGroups.has(group)) return
    this.#unknownGroups.add(group)
    this.#context.log.error(`this machine has no group ${JSON.stringify(group)}: nobody is in it`)
  }
}

/** Why this is not even asked, or null. What C would cut at a NUL is never shown to it. */
function problemOf(name: string, secrets: readonly string[]): string | null {
  if (name === '') return 'no user name'
  if (Buffer.byteLength(name) > 255) return 'the user name is longer than 255 bytes'
  if (/^[-+.]|[\s:/\\,]|[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/u.test(name))
    return 'the user name holds what no account has'
  if (secrets[0] === '') return 'no password'
  if (secrets.some((secret) => secret.includes('\0'))) return 'a secret holds a NUL'
  return null
}

/** Linux-PAM would silently fall back to the service `other`. */
function checkService(service: string): void {
  const folders = ['/etc/pam.d', '/usr/lib/pam.d', '/usr/etc/pam.d']
  if (folders.some((folder) => existsSync(`${folder}/${service}`))) return
  throw new HubError(
    'invalid_request',
    `There is no PAM service '${service}': copy examples/pam/portico to /etc/pam.d/${service}, or name another one in authenticator.service`,
  )
}
