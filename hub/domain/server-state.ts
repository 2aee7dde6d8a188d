import type { Exit } from '../../packages/core/spawner.ts'
import type { Progress } from './progress.ts'

/** The end of a server with the last lines it wrote, secrets blotted out. */
export interface LastExit extends Exit {
  /** Whether it ran before it ended; a start that failed lacks it. */
  readonly wasReady?: boolean
  readonly logTail?: readonly string[]
}

/** Where one server is in its life. Illegal combinations cannot be written down. */
export type ServerState =
  | { readonly kind: 'stopped'; readonly exit: LastExit | null }
  | { readonly kind: 'starting'; readonly since: Date; readonly progress: Progress }
  /** Found in the database by a restarted hub, which has not yet made sure that it still runs. */
  | { readonly kind: 'checking'; readonly since: Date }
  | { readonly kind: 'ready'; readonly since: Date; readonly url: URL }
  | { readonly kind: 'stopping'; readonly since: Date }

/** The state in the words of the REST API (wire section 3.2). */
export function wireState(state: ServerState): {
  readonly ready: boolean
  readonly stopped: boolean
  readonly pending: 'spawn' | 'stop' | 'check' | null
} {
  switch (state.kind) {
    case 'stopped':
      return { ready: false, stopped: true, pending: null }
    case 'starting':
      return { ready: false, stopped: false, pending: 'spawn' }
    case 'checking':
      return { ready: false, stopped: false, pending: 'check' }
    case 'ready':
      return { ready: true, stopped: false, pending: null }
    case 'stopping':
      return { ready: false, stopped: false, pending: 'stop' }
  }
}
