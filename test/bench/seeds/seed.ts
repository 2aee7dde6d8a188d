import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { identityOf, packageRoot, type ProcessIdentity } from '../../../packages/process/index.ts'
import { freePorts } from '../../support/start-hub.ts'
import type { Launcher } from '../launcher.ts'

/** What a hub's database is filled with before it is measured. */
export interface Seed {
  readonly users: number
  readonly groups: number
  /** Servers that count as running; the first users have one each. */
  readonly running: number
}

/** The one process that stands for all running servers. */
export interface SharedServer {
  readonly identity: ProcessIdentity
  readonly url: URL
}

/** A program that answers every path, as each of the seeded servers. Ends with the launcher. */
export async function startSharedServer(launcher: Launcher): Promise<SharedServer> {
  const [port] = await freePorts(1)
  const url = new URL(`http://127.0.0.1:${port}/`)
  const { process } = await launcher.launch({
    command: [nodeProgram(), join(packageRoot(), 'test/support/single-user.mjs')],
    env: { PATH: '/usr/bin:/bin', JUPYTERHUB_SERVICE_URL: url.href },
    folder: launcher.folder(),
    url,
  })
  const identity = identityOf(process.identity.pid)
  if (!identity) throw new Error('the shared server has ended')
  return { identity, url }
}

const nodeProgram = (): string => process.execPath

const firstNames = ['ada', 'alex', 'bea', 'carl', 'dora', 'emil', 'xenia', 'yves'] as const

/** The name of the n-th user; a quarter of the names hold an `x`. */
export function seededName(index: number): string {
  return `${firstNames[index % firstNames.length]}${String(index).padStart(6, '0')}`
}

/** The token of the n-th user's server. Known to whoever reads this: for loopback and minutes only. */
export function seededToken(index: number): string {
  return createHash('sha256').update(`seeded ${index}`).digest('hex')
}

/** When the n-th user was last active, in ms: all different, within the last month. */
export function seededActivity(index: number, now: number): number {
  return now - ((index * 7919) % 2_592_000) * 1000 - (index % 1000)
}

/** A token in the form in which JupyterHub keeps it, and Portico reads it too. */
export function jupyterHubHash(token: string): string {
  const salt = token.slice(8, 24)
  const digest = createHash('sha512').update(salt).update(token).digest('hex')
  return `sha512:1:${salt}:${digest}`
}
