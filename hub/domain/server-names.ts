import { HubError } from '../../packages/core/errors.ts'
import { displayName, isSafeSlug, readableSlug, safeSlug } from '../../packages/core/slug.ts'
import type { NamedServerOptions } from '../config.ts'
import type { Log } from '../log.ts'
import type { ServerStore, StoredServer } from '../store/servers.ts'
import type { User } from '../store/users.ts'

/** Which names servers may have, and how many of them a user (wire section 2.4). */
export interface ServerNames {
  /**
   * Whether this server may be made or, when it is `known`, started. Resolves to its display name,
   * normalised; null keeps the one it has.
   * @throws {HubError} `invalid_request`, with JupyterHub's words.
   */
  admit(
    user: User,
    server: {
      readonly name: string
      readonly displayName: string | null
      readonly known: StoredServer | null
    },
  ): Promise<string | null>
  /** Whether `known` may be called so from now on; both absent are always fine. Resolves as `admit` does. */
  admitEdit(
    user: User,
    server: string,
    to: { readonly name?: string | undefined; readonly displayName?: string | null | undefined },
  ): Promise<string | null | undefined>
  /** @throws {HubError} `invalid_request` when there are no named servers on this hub. */
  requireAllowed(): void
}

export function serverNames(store: ServerStore, options: NamedServerOptions): ServerNames {
  const requireAllowed = (): void => {
    if (!options.allowNamedServers)
      throw new HubError('invalid_request', 'Named servers are not enabled.')
  }

  const requireRoom = async (user: User): Promise<void> => {
    const { namedServerLimitPerUser: configured } = options
    const { name, admin } = user
    const limit =
      typeof configured === 'number' ? configured : await configured({ userName: name, admin })
    if (!Number.isInteger(limit) || limit < 0)
      throw new Error(`hub.namedServerLimitPerUser gave ${String(limit)} for ${name}`)
    if (limit > 0 && (await store.countNamed(user.id)) >= limit)
      throw new HubError(
        'invalid_request',
        `User ${name} already has the maximum of ${limit} named servers. One must be deleted before a new server can be created`,
      )
  }

  return {
    requireAllowed,

    async admit(user, { name, displayName: wanted, known }) {
      if (name !== '') {
        requireAllowed()
        if (!known) {
          requireSlug(name)
          await requireRoom(user)
        } else if (options.allowExistingInvalidNamedServers === 'allow-delete') requireSlug(name)
      }
      return wanted === null
        ? null
        : requireDisplayName(wanted, known || name === '' ? 'known' : 'new')
    },

    async admitEdit(user, server, { name, displayName: wanted }) {
      if (name !== undefined || wanted !== undefined) requireAllowed()
      if (name !== undefined && name !== server) {
        requireSlug(name)
        if (server === '') await requireRoom(user)
      }
      return wanted ? requireDisplayName(wanted, 'known') : wanted
    },
  }
}

function requireSlug(name: string): void {
  if (isSafeSlug(name)) return
  throw new HubError(
    'invalid_request',
    `Invalid server_name: ${JSON.stringify(name.slice(0, 64))}. Use 1 to 30 of a-z, 0-9 and -, beginning with a letter, ending with a letter or digit, without --; for example ${safeSlug(name.slice(0, 255))}`,
  )
}

function requireDisplayName(text: string, age: 'new' | 'known'): string {
  const name = displayName(text, age)
  if (name !== null) return name
  throw new HubError(
    'invalid_request',
    'Invalid display_name: use 1 to 255 printable characters, with single spaces between words',
  )
}

/**
 * Gives stopped servers whose names are no safe slugs such a name, and shows their old one
 * (`hub.allowExistingInvalidNamedServers: 'autorename'`). Must come before anything is started.
 */
export async function renameInvalid(store: ServerStore, log: Log): Promise<void> {
  for (const row of await store.stoppedNamed()) {
    if (isSafeSlug(row.name)) continue
    const shown = row.displayName ?? displayName(row.name, 'known') ?? row.name
    for (const name of [readableSlug(row.name), safeSlug(row.name)]) {
      const edited = await store.edit(row.userId, row.name, { name, displayName: shown })
      if (edited.kind !== 'edited') continue
      log.info(`server ${row.userName}/${row.name} is ${row.userName}/${name} from now on`)
      break
    }
  }
}
