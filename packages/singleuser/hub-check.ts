import { setTimeout as sleep } from 'node:timers/promises'
import { HubError } from '../core/errors.ts'
import { hubRequest } from '../hub-auth/index.ts'
import { protocolVersion } from './config.ts'

const tries = 5

/**
 * Makes sure that the hub can be reached from here, since nobody could log in otherwise. Throws
 * `unavailable` after five tries over half a minute; another major version is only logged.
 */
export async function checkHub(
  apiUrl: string,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    const reply = await hubRequest(apiUrl).catch((error: unknown) => error)
    if (!(reply instanceof Error)) return warnOfVersion(reply, log)
    if (attempt >= tries) throw new HubError('unavailable', 'giving up', { cause: reply })
    log(`${reply.message}; trying again (${attempt} of ${tries})`)
    await sleep(2 ** attempt * 500, null, { signal }).catch(() => null)
  }
}

function warnOfVersion(reply: unknown, log: (line: string) => void): void {
  const { headers } = reply as Awaited<ReturnType<typeof hubRequest>>
  const version = String(headers['x-jupyterhub-version'] ?? '')
  const [major] = version.split('.')
  if (major === protocolVersion.split('.')[0]) return
  const theirs = version === '' ? 'does not tell its version' : `is version ${version}`
  log(`the hub ${theirs}, this server speaks ${protocolVersion}: some things may not work`)
}
