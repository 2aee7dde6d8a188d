import { HeaderList } from './header-list.ts'

/** How the body of a request is delimited: taken from the parsed message, never from its header text. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: string }
  | { readonly kind: 'chunked' }

/** What the passes know about a request besides its headers. */
export interface Forwarding {
  readonly method: string
  readonly isUpgrade: boolean
  readonly framing: Framing
  /** The client's side of the connection: `peer` is null on a unix socket. */
  readonly peer: string | null
  readonly isTrustedPeer: boolean
  readonly isSecure: boolean
  /** Whether the route leads to the hub. */
  readonly toHub: boolean
}

/** The flags that bear on headers. */
export interface HeaderRules {
  readonly xForward: boolean
  /** Set on each request, in the place of a client's header of that name. */
  readonly customHeaders: readonly (readonly [name: string, value: string])[]
  /** Called once, with the first header that was dropped because its sender is not trusted. */
  readonly onUntrusted: (peer: string | null) => void
}

type Pass = (headers: HeaderList, forwarding: Forwarding, rules: HeaderRules) => void

/**
 * Header fields that belong to one connection, not to the message: RFC 9110 7.6.1, and those that
 * the proxy answers or makes anew.
 */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** The hub's login, which no server but the hub may ever see. */
const loginCookies = new Set(['jupyterhub-hub-login', '__Host-jupyterhub-hub-login'])

/** What only a front end knows; from anybody else it is made up. */
const saidByFrontEnds = /^(?:x-forwarded-.*|forwarded|x-real-ip|x-scheme)$/

/** Also drops what `Connection` names, but for `Host`, without which the message has no meaning. */
function dropHopByHop(headers: HeaderList): void {
  const connection = headers.get('connection')
  headers.dropWhere(isHopByHop)
  if (connection === undefined || /^(?:keep-alive|close|upgrade)$/i.test(connection)) return
  const named = new Set(connection.toLowerCase().split(/[\s,]+/))
  named.delete('host')
  headers.dropWhere((name) => named.has(name))
}

function isHopByHop(name: string): boolean {
  return hopByHop.has(name)
}

/** The proxy has answered `Expect: 100-continue` itself. */
const dropExpect: Pass = (headers) => {
  headers.drop('expect')
}

function isSaidByFrontEnds(name: string): boolean {
  return saidByFrontEnds.test(name)
}

const dropUntrusted: Pass = (headers, { isTrustedPeer, peer }, { onUntrusted }) => {
  if (isTrustedPeer) return
  if (headers.dropWhere(isSaidByFrontEnds)) onUntrusted(peer)
}

/** Appends to For; keeps the first Proto, Host and Port that a trusted peer has set. */
const addForwarded: Pass = (headers, forwarding, { xForward }) => {
  if (!xForward) return
  const { peer, isSecure, isUpgrade } = forwarding
  const host = headers.get('host') ?? ''
  const proto = `${isUpgrade ? 'ws' : 'http'}${isSecure ? 's' : ''}`
  const before = headers.get('x-forwarded-for')
  const chain = [before, peer].filter(Boolean).join(',')
  if (chain !== '') headers.set('X-Forwarded-For', chain)
  keepFirst(headers, 'X-Forwarded-Proto', proto)
  keepFirst(headers, 'X-Forwarded-Host', host)
  keepFirst(headers, 'X-Forwarded-Port', /:(\d+)$/.exec(host)?.[1] ?? (isSecure ? '443' : '80'))
}

function keepFirst(headers: HeaderList, name: string, own: string): void {
  const said = headers.get(name.toLowerCase())
  const value = said?.split(',', 1)[0]?.trim() || own
  if (value !== '') headers.set(name, value)
}

/** RFC 7239: one element more, where a front end has begun the list. */
const appendToForwarded: Pass = (headers, { peer, isSecure }, { xForward }) => {
  const before = headers.get('forwarded')
  if (!xForward || before === undefined) return
  const node = peer === null ? 'unknown' : peer.includes(':') ? `"[${peer}]"` : peer
  headers.set('Forwarded', `${before}, for=${node};proto=${isSecure ? 'https' : 'http'}`)
}

const dropLoginCookies: Pass = (headers, { toHub }) => {
  const cookies = toHub ? undefined : headers.get('cookie')
  if (cookies === undefined || !cookies.includes('jupyterhub-hub-login')) return
  const pairs = cookies.split(';')
  const kept = pairs.filter((pair) => !loginCookies.has((pair.split('=', 1)[0] ?? '').trim()))
  if (kept.length === pairs.length) return
  if (kept.length === 0) headers.drop('cookie')
  else headers.set('Cookie', kept.join(';').trim())
}

const addCustomHeaders: Pass = (headers, _forwarding, { customHeaders }) => {
  for (const [name, value] of customHeaders) headers.set(name, value)
}

/** Methods for which no `Content-Length` means that there is no body (RFC 9110 8.6). */
const bodylessMethods = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS'])

const frame: Pass = (headers, { method, framing, isUpgrade }) => {
  headers.drop('content-length')
  headers.drop('transfer-encoding')
  if (framing.kind === 'length') headers.set('Content-Length', framing.length)
  if (framing.kind === 'chunked') headers.set('Transfer-Encoding', 'chunked')
  if (framing.kind === 'none' && !bodylessMethods.has(method)) headers.set('Content-Length', '0')
  if (!isUpgrade) return
  headers.set('Connection', 'Upgrade')
  headers.set('Upgrade', 'websocket')
}

/** Applied in this order to every request before it leaves for its target. */
const requestPasses: readonly Pass[] = [
  dropHopByHop,
  dropExpect,
  dropUntrusted,
  addForwarded,
  appendToForwarded,
  dropLoginCookies,
  addCustomHeaders,
  frame,
]

/** The headers that the target gets: name, value, name, value. */
export function forwardedHeaders(
  raw: readonly string[],
  forwarding: Forwarding,
  rules: HeaderRules,
): string[] {
  const headers = new HeaderList(raw)
  for (const pass of requestPasses) pass(headers, forwarding, rules)
  return headers.toRaw()
}

/** The headers of a target's answer, without what belongs to its connection. */
export function relayedHeaders(raw: readonly string[], status: number): string[] {
  const headers = new HeaderList(raw)
  dropHopByHop(headers)
  if (status === 204 || status < 200) headers.drop('content-length')
  return headers.toRaw()
}
