import { createHash } from 'node:crypto'
import { BoundedMap } from '../core/bounded-map.ts'
import { describeError, HubError } from '../core/errors.ts'
import { parseJson } from './config.ts'
import { hubRequest } from './hub-request.ts'
import { isRecord } from './seal.ts'

/** Who a token belongs to, as the hub's `GET /user` tells. */
export interface HubUser {
  readonly name: string
  readonly kind: 'user' | 'service'
  readonly admin: boolean
  readonly groups: readonly string[]
  readonly scopes: readonly string[]
}

/** Milliseconds an answer counts without asking again; JupyterHub's clients take 300 s. */
const fresh = 10_000
/** Milliseconds an answer counts while the hub does not answer: JupyterHub's 300 s. */
const stale = 300_000
const maxEntries = 512

interface Entry {
  readonly user: HubUser | null
  readonly checkedAt: number
}

/**
 * Asks the hub whose token it is, through a cache keyed by token and browser session, so that a
 * logout at the hub ends access within 10 s. While the hub is down (a restart), users who were
 * let in before stay in, for as long as JupyterHub's own cache would keep them.
 */
export class HubUsers {
  readonly #apiUrl: string
  readonly #cache = new BoundedMap<string, Entry>(maxEntries)
  readonly #pending = new Map<string, Promise<HubUser | null>>()

  constructor(apiUrl: string) {
    this.#apiUrl = apiUrl
  }

  /** Null when the hub knows no such token. Throws `unavailable` when the hub cannot tell. */
  async userForToken(token: string, sessionId = ''): Promise<HubUser | null> {
    const key = keyOf(token, sessionId)
    const known = this.#cache.get(key)
    if (known && performance.now() - known.checkedAt < fresh) return known.user
    const pending = this.#pending.get(key) ?? this.#ask(key, token)
    this.#pending.set(key, pending)
    try {
      return await pending
    } catch (error) {
      if (known?.user && performance.now() - known.checkedAt < stale) return known.user
      throw error
    } finally {
      this.#pending.delete(key)
    }
  }

  /** Drops what is known about a token, so that the next use asks the hub. */
  forget(token: string, sessionId = ''): void {
    this.#cache.delete(keyOf(token, sessionId))
  }

  async #ask(key: string, token: string): Promise<HubUser | null> {
    const user = await fetchUser(this.#apiUrl, token)
    this.#cache.set(key, { user, checkedAt: performance.now() })
    return user
  }
}

function keyOf(token: string, sessionId: string): string {
  return createHash('sha256').update(`${token}\0${sessionId}`).digest('base64url')
}

async function fetchUser(apiUrl: string, token: string): Promise<HubUser | null> {
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) return null
  const reply = await hubRequest(`${apiUrl}/user`, { headers: { authorization: `token ${token}` } })
  if (reply.status === 403) return null
  if (reply.status !== 200) {
    throw new HubError('unavailable', `the hub answers ${reply.status} when asked who is calling`)
  }
  try {
    return userFrom(parseJson(reply.body))
  } catch (error) {
    throw new HubError('unavailable', `the hub's user model is malformed: ${describeError(error)}`)
  }
}

function userFrom(model: unknown): HubUser {
  if (!isRecord(model) || typeof model['name'] !== 'string') throw new Error('it has no name')
  if (!isStringList(model['scopes'])) throw new Error('it has no list of scopes')
  return {
    name: model['name'],
    kind: model['kind'] === 'service' ? 'service' : 'user',
    admin: model['admin'] === true,
    groups: isStringList(model['groups']) ? model['groups'] : [],
    scopes: model['scopes'],
  }
}

function isStringList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
