import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type Client, createClient } from '../../packages/client/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import { findDataDir } from '../data-dir.ts'
import type { CommandContext } from './command.ts'
import { locateDataDir } from './site.ts'
import { socketFetch } from './socket-fetch.ts'

/** Where a command may act: on a hub that runs, or on the data of one that does not. */
export type Reach =
  /** `dataDir` is null for a hub named by `--url`. */
  | { readonly kind: 'hub'; readonly client: Client; readonly dataDir: string | null }
  /** Take the lock before touching anything in there. */
  | { readonly kind: 'data'; readonly dataDir: string }
  | { readonly kind: 'nothing'; readonly dataDir: string }

/**
 * Finds the hub that is meant: the one at `--url`, else the one that runs on the data directory.
 * @throws {HubError} `invalid_request` without a token for `--url`.
 */
export async function reach(context: CommandContext): Promise<Reach> {
  const url = context.flags.text('url')
  if (url !== undefined) return { kind: 'hub', client: remoteClient(context, url), dataDir: null }
  const wanted = await locateDataDir(context)
  const dataDir = findDataDir(wanted)
  if (dataDir === null) return { kind: 'nothing', dataDir: wanted }
  const socket = join(dataDir, 'hub.sock')
  if (!(await answers(socket))) return { kind: 'data', dataDir }
  const client = createClient({ url: 'http://localhost/', fetch: socketFetch(socket) })
  return { kind: 'hub', client, dataDir }
}

/** True while a hub listens on its operator socket. */
export async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false
  return new Promise((resolve) => {
    const connection = connect(socket)
    const settle = (listens: boolean): void => {
      connection.destroy()
      resolve(listens)
    }
    connection.once('connect', () => settle(true))
    connection.once('error', () => settle(false))
  })
}

function remoteClient({ env }: CommandContext, url: string): Client {
  const token = env['JUPYTERHUB_API_TOKEN']
  if (!token) throw new HubError('invalid_request', "'--url' needs a token in JUPYTERHUB_API_TOKEN")
  if (!URL.canParse(url)) throw new HubError('invalid_request', `'--url ${url}' is not a url`)
  return createClient({ url, token })
}

/** The error for a command that needs a hub that runs. */
export function noHub(dataDir: string, { invocation }: CommandContext): HubError {
  return new HubError(
    'unavailable',
    `no hub runs on ${dataDir}: start one with '${invocation}', or name another --data-dir`,
  )
}
