import type { HubError } from '../../packages/core/errors.ts'
import type { Exit } from '../../packages/core/spawner.ts'

/** Somebody asked for it. */
export const stoppedExit: Exit = { cause: 'stopped', code: null, message: 'the server was stopped' }

/** Somebody asked for it before the server was up. */
export const cancelledExit: Exit = {
  cause: 'cancelled',
  code: null,
  message: 'the start was cancelled',
}

/** A start that the hub did not live to see through. */
export const restartedExit: Exit = {
  cause: 'hub-restarted',
  code: null,
  message: 'the hub was restarted before the server was up; start it again',
}

/** A start that was not over in time. */
export const timeoutExit = (seconds: number): Exit => ({
  cause: 'timeout',
  code: null,
  message: `the server was not up within ${seconds} seconds. It may just be slow (an admin can raise spawner.startTimeout), or it hangs: see its log`,
})

/** A hook of the site did not want the server to start. */
export const refusedExit = ({ code, message }: HubError): Exit => ({
  cause: 'refused',
  code: null,
  message,
  refusal: code,
})

/** Whether nothing went wrong: Jupyter servers also end by themselves, without failure, when they are idle or told so. */
export function isPlanned({ cause, code }: Exit): boolean {
  return cause === 'stopped' || code === 0
}
