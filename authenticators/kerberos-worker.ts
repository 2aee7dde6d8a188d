/**
 * The process in which tickets are checked: answers one `TicketRequest` after the other over its IPC
 * channel, and ends with the channel. The library may ask servers and wait for them.
 */
import type { TicketReply, TicketRequest } from './gssapi.ts'

process.on('disconnect', () => process.exit(0))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

const { checkTicket } = await import('./gssapi.ts')

process.on('message', (request: TicketRequest) => {
  process.send?.(answer(request))
})
process.send?.({ kind: 'ready' })

function answer(request: TicketRequest): TicketReply {
  try {
    return checkTicket(request)
  } catch (error) {
    return { kind: 'failed', message: error instanceof Error ? error.message : String(error) }
  }
}
