import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join } from 'node:path'
import { HubError } from '../core/errors.ts'
import { packageRoot } from '../process/index.ts'
import { refuseMethod, type Exchange } from './replies.ts'

/** Our own version, from package.json. */
export const packageVersion: string = (
  JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }
).version

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

const folder = join(packageRoot(), 'packages/singleuser/assets')
const require = createRequire(import.meta.url)

/** The browser half of the terminal comes from its npm packages as it is. */
const vendored: Readonly<Record<string, readonly [packageName: string, file: string]>> = {
  'xterm/xterm.mjs': ['@xterm/xterm', 'lib/xterm.mjs'],
  'xterm/xterm.css': ['@xterm/xterm', 'css/xterm.css'],
  'xterm/addon-fit.mjs': ['@xterm/addon-fit', 'lib/addon-fit.mjs'],
}

/** `GET assets/NAME`: revalidated on every use, so that an upgrade never mixes versions. */
export async function serveAsset(exchange: Exchange): Promise<void> {
  const { method, rest, request, response } = exchange
  if (method !== 'GET' && method !== 'HEAD') refuseMethod(exchange, ['GET', 'HEAD'])
  const content = await readFile(locate(rest)).catch((cause: unknown) => {
    throw new HubError('not_found', `there is no asset ${rest}`, { cause })
  })
  const etag = `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`
  response.setHeader('etag', etag)
  response.setHeader('cache-control', 'private, no-cache')
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304).end()
    return
  }
  response.writeHead(200, {
    'content-type': types[extname(rest)] ?? 'application/octet-stream',
    'content-length': content.length,
  })
  response.end(method === 'HEAD' ? undefined : content)
}

function locate(name: string): string {
  const vendor = Object.hasOwn(vendored, name) ? vendored[name] : undefined
  if (vendor) return join(dirname(require.resolve(`${vendor[0]}/package.json`)), vendor[1])
  if (/^[a-z][a-z-]*\.(js|css|svg)$/.test(name)) return join(folder, name)
  throw new HubError('not_found', `there is no asset ${name}`)
}
