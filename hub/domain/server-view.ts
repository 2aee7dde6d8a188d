import { HubError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import type { StoredServer } from '../store/servers.ts'
import type { User } from '../store/users.ts'
import type { ServerState } from './server-state.ts'

/** One server as pages and the API may see it. A default server that never ran has no row: `id` is null. */
export interface ServerView {
  readonly id: number | null
  readonly userName: string
  readonly name: string
  readonly displayName: string | null
  readonly state: ServerState
  readonly prefix: string
  readonly startedAt: Date | null
  readonly lastActivityAt: Date | null
  readonly userOptions: Json
  /** The spawner's own notes; only for `admin:server_state`. */
  readonly spawnerState: Json
}

/** What the row says, and what its run knows better; without a `state` it is stopped. */
export function serverView({
  user,
  name,
  row,
  prefix,
  state,
}: {
  readonly user: Pick<User, 'name'>
  readonly name: string
  readonly row: StoredServer | null
  readonly prefix: string
  readonly state: ServerState | null
}): ServerView {
  return {
    id: row?.id ?? null,
    userName: user.name,
    name,
    displayName: row?.displayName ?? null,
    state: state ?? { kind: 'stopped', exit: row?.lastExit ?? null },
    prefix,
    startedAt: row?.startedAt ?? null,
    lastActivityAt: row?.lastActivityAt ?? null,
    userOptions: row?.userOptions ?? null,
    spawnerState: row?.spawnerState ?? null,
  }
}

/** What every call about a server that is not there comes to. */
export function noSuchServer(user: Pick<User, 'name'>, server: string): HubError {
  return new HubError('server_not_found', `No such server: ${user.name}/${server.slice(0, 64)}`)
}
