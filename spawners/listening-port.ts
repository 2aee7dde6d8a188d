import { once } from 'node:events'
import { readFile, readdir, readlink } from 'node:fs/promises'
import { connect, createServer, isIPv6 } from 'node:net'
import { endianness } from 'node:os'
import type { ProcessIdentity } from 'portico/process'

const connectDeadline = 1_000
const listenState = '0A'

/** A socket that waits for connections. */
interface Listener {
  /** As in `/proc/net/tcp`: hexadecimal, in the byte order of the machine. */
  readonly address: string
  readonly inode: string
}

/** A port that is free at this moment. Somebody else may take it before it is used. */
export async function freePort(ip: string): Promise<number> {
  const probe = createServer().listen(0, ip)
  await once(probe, 'listening')
  const address = probe.address()
  const closed = once(probe, 'close')
  probe.close()
  await closed
  if (address === null || typeof address === 'string') throw new Error('no TCP address')
  return address.port
}

/** The url of an address and a port. */
export function urlOf(ip: string, port: number): URL {
  return new URL(isIPv6(ip) ? `http://[${ip}]:${port}` : `http://${ip}:${port}`)
}

/** Where to reach a server that listens on this address: the loopback when it listens everywhere. */
export function reachableAt(ip: string, port: number): URL {
  const loopback = new Map([
    ['0.0.0.0', '127.0.0.1'],
    ['::', '::1'],
  ])
  return urlOf(loopback.get(ip) ?? ip, port)
}

/** Whether somebody accepts connections there. */
export async function isAnswered(target: URL): Promise<boolean> {
  const socket = connect(Number(target.port), target.hostname.replaceAll(/[[\]]/g, ''))
  const answer = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.setTimeout(connectDeadline, () => resolve(false))
  })
  return answer.finally(() => socket.destroy())
}

/**
 * Whether every socket that could accept connections to this target belongs to one of
 * the processes, so that nobody is sent to a program of somebody else that took the port first.
 * Where there is no `/proc` the answer is yes.
 */
export async function isPortOf(
  owners: readonly ProcessIdentity[],
  { hostname, port }: URL,
): Promise<boolean> {
  if (process.platform !== 'linux') return true
  const addresses = addressesOf(hostname).map(hexAddress)
  const listeners = await listenersOn(Number(port))
  const found = listeners.filter(({ address }) => addresses.includes(address))
  if (found.length === 0) return false
  const sockets = new Set((await Promise.all(owners.map(({ pid }) => socketsOf(pid)))).flat())
  return found.every(({ inode }) => sockets.has(inode))
}

async function listenersOn(port: number): Promise<Listener[]> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(readIfExists))
  return tables
    .join('\n')
    .split('\n')
    .flatMap((line) => {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state !== listenState || !local?.endsWith(suffix) || inode === undefined) return []
      return { address: local.slice(0, -suffix.length), inode }
    })
}

/** The addresses whose sockets accept connections to a host: its own, and those for all hosts. */
function addressesOf(hostname: string): string[] {
  const own = hostname.startsWith('[') ? [hostname] : [`[::ffff:${hostname}]`, hostname]
  return [...own, '0.0.0.0', '[::]']
}

/** As `/proc/net/tcp` shows an address: words of 32 bits in the byte order of the machine. */
function hexAddress(host: string): string {
  const bytes = host.startsWith('[') ? ipv6Bytes(host) : Buffer.from(host.split('.').map(Number))
  return (endianness() === 'LE' ? bytes.swap32() : bytes).toString('hex').toUpperCase()
}

function ipv6Bytes(host: string): Buffer {
  const [head = '', tail] = new URL(`http://${host}`).hostname.slice(1, -1).split('::')
  const first = head.split(':').filter(Boolean)
  const last = tail?.split(':').filter(Boolean) ?? []
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0')
  const words = [...first, ...zeros, ...last].map((word) => word.padStart(4, '0'))
  return Buffer.from(words.join(''), 'hex')
}

async function readIfExists(path: string): Promise<string> {
  return readFile(path, 'latin1').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
}

/** The inodes of the sockets that a process holds; none when it is gone or is not ours to look at. */
async function socketsOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const names = await readdir(folder).catch(() => [])
  const links = await Promise.all(
    names.map((name) => readlink(`${folder}/${name}`).catch(() => '')),
  )
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}
