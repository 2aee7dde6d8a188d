import { EventEmitter } from 'node:events'

/** What happens in the hub that somebody outside the code that did it wants to know. */
export type HubEvent =
  | { readonly kind: 'login'; readonly user: string; readonly peer: string }
  | {
      readonly kind: 'login-failed'
      readonly user: string
      readonly peer: string
      readonly reason: string
    }
  | { readonly kind: 'logout'; readonly user: string; readonly peer: string }
  | {
      readonly kind: 'admin-changed'
      readonly user: string
      readonly admin: boolean
      readonly by: string
    }
  | { readonly kind: 'user-created' | 'user-deleted'; readonly user: string; readonly by: string }
  | { readonly kind: 'token-issued' | 'token-revoked'; readonly user: string; readonly by: string }
  | {
      readonly kind: 'server-started' | 'server-stopped'
      readonly user: string
      readonly server: string
    }
  | {
      readonly kind: 'server-failed'
      readonly user: string
      readonly server: string
      readonly cause: string
    }

export interface Events {
  emit(event: HubEvent): void
  /** Returns how to stop listening. */
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
