import { EventEmitter } from 'node:events'

/** Who did it: a user's or service's name, `operator`, `login`, or `hub` for what the hub decided. */
interface Done {
  readonly by: string
}

interface OfUser {
  readonly user: string
}

interface OfServer extends OfUser {
  /** Empty for the default server. */
  readonly server: string
}

interface OfGroup {
  readonly group: string
}

interface OfService {
  readonly service: string
}

interface Peer {
  /** Address of the browser. */
  readonly peer: string
}

/** What happens to accounts and logins. `user-renamed` is about the new name; `from` is the old one. */
type UserEvent =
  | ({ readonly kind: 'login' | 'logout' } & OfUser & Peer)
  /** `user` is what was typed, perhaps cut: it need not exist. */
  | ({ readonly kind: 'login-failed'; readonly reason: string } & OfUser & Peer)
  /** An address must wait between its logins under this name, which was typed. */
  | ({ readonly kind: 'login-throttled' } & OfUser & Peer)
  /** All sessions and tokens of somebody who is not let in any more. */
  | ({ readonly kind: 'access-ended'; readonly reason: string } & OfUser & Done)
  | ({
      readonly kind: 'user-created' | 'user-deleted' | 'user-blocked' | 'user-unblocked'
    } & OfUser &
      Done)
  | ({ readonly kind: 'user-renamed'; readonly from: string } & OfUser & Done)
  | ({ readonly kind: 'admin-changed'; readonly admin: boolean } & OfUser & Done)

/**
 * What happens to servers. A start is `server-starting`, then `server-started` or `server-failed`; a
 * stop is `server-stopping`, then `server-stopped`. A server that dies is `server-failed`; one that a
 * restarted hub finds running is `server-adopted`. `renamed` is about the new name.
 */
type ServerEvent =
  | ({
      readonly kind: 'server-starting' | 'server-started' | 'server-adopted' | 'server-stopping'
    } & OfServer)
  | ({ readonly kind: 'server-stopped' } & OfServer)
  | ({ readonly kind: 'server-failed'; readonly cause: string } & OfServer)
  | ({
      readonly kind: 'server-refused'
      /** Too many servers are starting, or there are too many. */
      readonly cause: 'throttled' | 'too-many-users'
    } & OfServer)
  | ({ readonly kind: 'server-created' | 'server-deleted' } & OfServer & Done)
  | ({ readonly kind: 'server-renamed'; readonly from: string } & OfServer & Done)

/** What happens to rights: tokens, groups, shares. */
type RightsEvent =
  | ({
      readonly kind: 'token-issued' | 'token-revoked'
      /** As on the wire, `a12`. */
      readonly token: string
    } & OfUser &
      Done)
  | ({ readonly kind: 'group-created' | 'group-deleted' | 'group-properties-changed' } & OfGroup &
      Done)
  | ({
      readonly kind: 'group-members-changed'
      readonly added: readonly string[]
      readonly removed: readonly string[]
    } & OfGroup &
      Done)
  /** `with` is the receiver: `user:NAME`, `group:NAME`, or `code` for a share code. */
  | ({ readonly kind: 'share-granted' | 'share-revoked'; readonly with: string } & OfServer & Done)

/** What happens to services. */
type ServiceEvent =
  | ({ readonly kind: 'service-created' | 'service-deleted' } & OfService & Done)
  | ({ readonly kind: 'service-started' | 'service-stopped' } & OfService)
  | ({ readonly kind: 'service-failed'; readonly cause: string } & OfService)

/**
 * What happens in the hub that somebody outside the code that did it wants to know: the audit trail,
 * the event log, the metrics, and whoever follows `GET /hub/api/events`. Emitted after it is
 * written down. Names and reasons only, never secrets.
 */
export type HubEvent = UserEvent | ServerEvent | RightsEvent | ServiceEvent

export interface Events {
  emit(event: HubEvent): void
  /** Returns how to stop listening. A listener must not throw and must be quick. */
  on(listener: (event: HubEvent) => void): () => void
}

export function createEvents(): Events {
  const emitter = new EventEmitter().setMaxListeners(0)
  return {
    emit: (event) => emitter.emit('event', event),
    on(listener) {
      emitter.on('event', listener)
      return () => emitter.off('event', listener)
    },
  }
}
