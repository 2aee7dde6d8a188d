/**
 * The process in which PAM runs: answers one `PamRequest` after the other over its IPC channel, and
 * ends with the channel. Modules may block, sleep, or crash here without touching the hub.
 */
import koffi from 'koffi'
import type { PamReply, PamRequest } from './libpam.ts'

/** `prctl(2)` of Linux. */
const setParentDeathSignal = 1
const setDumpable = 4
const sigkill = 9

// Modules for directories and Kerberos need more room than koffi gives by default.
koffi.config({ sync_stack_size: 8 * 1024 * 1024 })

const prctl: (option: number, value: number) => number = koffi
  .load(null)
  .func('int prctl(int option, unsigned long value)')

process.on('disconnect', () => process.exit(0))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

prctl(setParentDeathSignal, sigkill)
// No core file and no debugger shall see a password.
prctl(setDumpable, 0)

const { askPam } = await import('./libpam.ts')

process.on('message', (request: PamRequest) => {
  process.send?.(answer(request))
})
process.send?.({ kind: 'ready' })

function answer(request: PamRequest): PamReply {
  try {
    return askPam(request)
  } catch (error) {
    return { kind: 'failed', message: error instanceof Error ? error.message : String(error) }
  } finally {
    for (const secret of request.answers ?? []) secret.fill(0)
  }
}
