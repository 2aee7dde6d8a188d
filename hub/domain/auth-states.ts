import { HubError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import type { Log } from '../log.ts'
import type { Cipher } from '../store/fernet.ts'
import type { User, UserStore } from '../store/users.ts'

/** What the authenticator knows of people and wants kept, such as tokens of a provider; encrypted at rest. */
export interface AuthStates {
  /** False when this hub keeps none: `of` is always null then. */
  readonly isKept: boolean
  /** Null when there is none, or none that can be read: `authenticator.enableAuthState`. */
  of(user: Pick<User, 'id' | 'name'>): Promise<Json | null>
  /** Whether there is one that no key can read any more. */
  isLost(user: Pick<User, 'id'>): Promise<boolean>
  /** @throws {HubError} `invalid_request` when this hub keeps none. */
  set(user: Pick<User, 'id'>, state: Json | null): Promise<void>
  /** The form in which it is stored; null when this hub keeps none. */
  seal(state: Json | null | undefined): Buffer | null
}

export interface AuthStatesDeps {
  readonly users: UserStore
  /** Null: nothing is kept. */
  readonly cipher: Cipher | null
  readonly log: Log
}

export function createAuthStates({ users, cipher, log }: AuthStatesDeps): AuthStates {
  const seal = (state: Json | null | undefined): Buffer | null =>
    state === undefined || state === null || !cipher
      ? null
      : cipher.encrypt(Buffer.from(JSON.stringify(state)))
  /** Null when there is none, undefined when it cannot be read. */
  const read = async ({ id }: Pick<User, 'id'>): Promise<Json | null | undefined> => {
    const stored = (cipher && (await users.loginOf(id))?.encryptedAuthState) ?? null
    if (!stored) return null
    const clear = cipher?.decrypt(stored)
    return clear ? (JSON.parse(clear.toString()) as Json) : undefined
  }
  return {
    isKept: cipher !== null,
    seal,
    isLost: async (user) => (await read(user)) === undefined,

    async of(user) {
      const state = await read(user)
      if (state !== undefined) return state
      log.warn(
        `the auth state of ${user.name} cannot be read: no key in JUPYTERHUB_CRYPT_KEY fits; it counts as none`,
      )
      return null
    },

    async set({ id }, state) {
      if (!cipher)
        throw new HubError(
          'invalid_request',
          "auth_state cannot be stored: set 'authenticator.enableAuthState: true', and a key in JUPYTERHUB_CRYPT_KEY",
        )
      await users.setLogin(id, { encryptedAuthState: seal(state) })
    },
  }
}
