import { readFile, readdir, readlink } from 'node:fs/promises'
import { createServer } from 'node:net'

/** Whether somebody could listen there now: null, or the error code that says why not. */
export function whyTaken(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'))
    probe.listen({ host, port }, () => probe.close(() => resolve(null)))
  })
}

/**
 * Who listens on a TCP port of this machine, as `name (pid N)`. Null when that cannot be known: no
 * Linux, or a process of another account.
 */
export async function portOwner(port: number): Promise<string | null> {
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const inode of listenersIn(await readText(table), port)) inodes.add(inode)
  }
  if (inodes.size === 0) return null
  for (const pid of await list('/proc')) {
    if (/^\d+$/.test(pid) && (await holdsSocket(pid, inodes))) {
      return `${(await readText(`/proc/${pid}/comm`)).trim()} (pid ${pid})`
    }
  }
  return null
}

/** Socket inodes of the lines in state 0A (listening) whose local port is that one. */
function listenersIn(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return table.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    const [, local = '', , state] = fields
    return state === '0A' && local.endsWith(suffix) ? [fields[9] ?? ''] : []
  })
}

async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  for (const descriptor of await list(`/proc/${pid}/fd`)) {
    const link = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '')
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
    if (inode !== undefined && inodes.has(inode)) return true
  }
  return false
}

function list(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}

function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
