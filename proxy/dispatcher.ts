import type { IncomingMessage } from 'node:http'
import { admit } from './admission.ts'
import { clientAddress } from './client-address.ts'
import { type Found, type Refusal, judge, notReady, plainHost } from './judgement.ts'
import { Limits } from './limits.ts'
import type { Log } from './log.ts'
import { readRequestPath } from './request-path.ts'
import { type HeaderRules, forwardedHeaders } from './request-passes.ts'
import type { Routes } from './routes.ts'
import type { ProxySettings } from './settings.ts'
import type { TargetRequest } from './target-client.ts'
import { targetPath } from './target-path.ts'
import type { Traffic } from './traffic.ts'
import { TrustedPeers, peerAddress } from './trusted-peers.ts'

export interface DispatcherOptions {
  readonly settings: ProxySettings
  readonly routes: Routes
  readonly traffic: Traffic
  readonly log: Log
}

/** Decides where each request of the public side goes, and what its target is told. Sends nothing itself. */
export class Dispatcher {
  readonly #settings: ProxySettings
  readonly #routes: Routes
  readonly #traffic: Traffic
  readonly #log: Log
  readonly #trusted: TrustedPeers
  readonly #rules: HeaderRules
  readonly #limits: Limits | null
  #hasWarned = false

  constructor({ settings, routes, traffic, log }: DispatcherOptions) {
    const { limits, trustedProxies } = settings
    this.#settings = settings
    this.#routes = routes
    this.#traffic = traffic
    this.#log = log
    this.#trusted = new TrustedPeers(trustedProxies)
    this.#rules = { ...settings, onUntrusted: (peer) => this.#warnUntrusted(peer) }
    this.#limits = Object.values(limits).some((limit) => limit > 0) ? new Limits(limits) : null
  }

  /** False until the first table has come, where that is waited for. */
  get isReady(): boolean {
    return !this.#settings.waitForRoutes || this.#routes.hasTable
  }

  /** Who asks, as far as trusted front ends say. */
  clientOf(request: IncomingMessage): string | null {
    return clientAddress(request, this.#trusted)
  }

  /** Finds the route, and takes a place where places are limited. */
  enter(request: IncomingMessage): Found | Refusal {
    const found = this.#traffic.finding(() => this.#find(request))
    if (found.kind !== 'found' || !this.#limits) return found
    const client = this.clientOf(request) ?? 'unix'
    const leave = this.#limits.enter(client, found.route.path)
    if (typeof leave !== 'string') return { ...found, leave }
    this.#traffic.limited(leave)
    return { kind: 'refused', status: 429, reason: 'too many requests at once', retryAfter: 1 }
  }

  #find(request: IncomingMessage): Found | Refusal {
    const admitted = admit(request)
    if (admitted.kind === 'refused') return admitted
    const { hostRouting } = this.#settings
    const { depth } = this.#routes
    const path = readRequestPath(admitted.url, hostRouting ? Math.max(0, depth - 1) : depth)
    if (path.kind === 'refused') return { kind: 'refused', status: 400, reason: path.reason }
    if (!this.isReady) return notReady
    const segments = hostRouting
      ? [plainHost(request.headers.host ?? ''), ...path.segments]
      : path.segments
    return judge(this.#routes.find(segments), admitted, request)
  }

  /** The head of the request as its target gets it. */
  headFor(
    request: IncomingMessage,
    { route, url, framing }: Found,
    isUpgrade: boolean,
  ): TargetRequest {
    const { method = 'GET', socket } = request
    const peer = peerAddress(socket)
    const forwarding = {
      method,
      isUpgrade,
      framing,
      peer,
      isTrustedPeer: this.#trusted.trusts(peer),
      isSecure: 'encrypted' in socket,
      toHub: route.isHub,
    }
    const headers = forwardedHeaders(request.rawHeaders, forwarding, this.#rules)
    if (this.#settings.changeOrigin) setHost(headers, route.target.host)
    else if (request.headers.host === undefined) headers.push('Host', route.target.host)
    const path = targetPath(route, url, this.#settings)
    return { method, path, headers, body: framing.kind, isUpgrade }
  }

  #warnUntrusted(peer: string | null): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    const from = peer ?? 'a unix socket'
    this.#log.warn(
      `dropped forwarding headers from ${from}, which is not a trusted proxy; if it is your front end, name it in --trusted-proxies`,
    )
  }
}

function setHost(headers: string[], host: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (headers[i]?.toLowerCase() === 'host') headers.splice(i, 2)
  }
  headers.push('Host', host)
}
