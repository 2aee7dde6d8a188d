import { parseArgs } from 'node:util'
import { BenchError } from './contender.ts'
import type { RemoteOptions } from './hubs/remote.ts'
import type { Subject } from './subject.ts'
import { proxy } from './subjects/proxy.ts'

export interface BenchOptions {
  readonly subjects: readonly Subject[]
  /** Whether the proxy is measured alone, beside its own peers. */
  readonly withProxies: boolean
  /** Measured in place of a Portico of our own. */
  readonly remote: RemoteOptions | null
  /** `if-installed` is the default: without it only ours is measured. */
  readonly peer: 'none' | 'jupyterhub' | 'if-installed'
  readonly isQuick: boolean
  readonly isFull: boolean
  readonly jsonFile: string | null
}

const flags = {
  url: { type: 'string' },
  token: { type: 'string' },
  user: { type: 'string' },
  peer: { type: 'string' },
  quick: { type: 'boolean' },
  full: { type: 'boolean' },
  json: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

/**
 * Reads the command line; null when help is wanted.
 * @throws {BenchError} naming what is wrong with it.
 */
export function readOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  subjects: readonly Subject[],
): BenchOptions | null {
  const { values, positionals } = parse(args)
  if (values.help) return null
  const { url, token = env['JUPYTERHUB_API_TOKEN'], user, peer } = values
  return {
    subjects: chosen(positionals, subjects),
    withProxies: positionals.includes(proxy.name),
    remote: url === undefined ? null : remoteOf(url, token, user),
    peer: peer === undefined ? (url === undefined ? 'if-installed' : 'none') : peerOf(peer),
    isQuick: values.quick ?? false,
    isFull: values.full ?? false,
    jsonFile: values.json ?? null,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: true })
  } catch (cause) {
    throw new BenchError((cause as Error).message, { cause })
  }
}

function chosen(names: readonly string[], subjects: readonly Subject[]): readonly Subject[] {
  const known = [...subjects, proxy]
  const unknown = names.find((name) => !known.some((subject) => subject.name === name))
  if (unknown !== undefined)
    throw new BenchError(
      `there is no subject ${JSON.stringify(unknown)}; there are ${known.map(({ name }) => name).join(', ')}`,
    )
  return names.length === 0 ? subjects : subjects.filter(({ name }) => names.includes(name))
}

function remoteOf(url: string, token: string | undefined, user: string | undefined): RemoteOptions {
  if (!URL.canParse(url)) throw new BenchError(`--url: ${JSON.stringify(url)} is not a url`)
  if (!token) throw new BenchError('--url needs --token, or JUPYTERHUB_API_TOKEN')
  return { url: new URL(url), token, ...(user === undefined ? {} : { user }) }
}

function peerOf(peer: string): 'none' | 'jupyterhub' {
  if (peer === 'none' || peer === 'jupyterhub') return peer
  throw new BenchError(`--peer: ${JSON.stringify(peer)} is neither none nor jupyterhub`)
}

export function helpText(subjects: readonly Subject[]): string {
  const list = [...subjects, proxy]
    .map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`)
    .join('\n')
  return `npm run bench -- [SUBJECT...] [FLAGS]

Measures Portico beside JupyterHub on this machine, over loopback, in turns, and prints ratios.
CPU per request is the steadiest figure on a machine that does other things too.

Subjects (default: all):
${list}

Flags:
  --url BASE    measure the hub at this address (with its base url) in place of one started here;
                only what needs no more than a token
  --token T     its API token; better in JUPYTERHUB_API_TOKEN, where nobody else can read it
  --user NAME   whom its API is asked about; default: the token's owner
  --peer NAME   none or jupyterhub; default: jupyterhub where it is installed, none with --url
  --quick       fewer and shorter measurements
  --full        half a minute for each figure of the API
  --json FILE   also write all figures to a file
  --help        this

Examples:
  npm run bench
  npm run bench -- api --quick
  npm run bench -- startup servers --peer none --json figures.json
  JUPYTERHUB_API_TOKEN=... npm run bench -- --url http://127.0.0.1:8000/jhub/ --user ada
`
}
