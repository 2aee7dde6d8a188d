import type { IncomingMessage, ServerResponse } from 'node:http'
import { HubError } from '../../packages/core/errors.ts'
import { filtersOf, type Resource } from '../../packages/core/scopes.ts'
import { type Access, type Caller, requireScope } from '../domain/access.ts'
import type { HubUrls } from '../domain/urls.ts'
import { apiNeedsToken } from '../domain/xsrf.ts'
import type { AnswerLog } from '../access-log.ts'
import type { HostCheck } from '../host-check.ts'
import type { Log } from '../log.ts'
import type { RequestContext, Requests } from '../request.ts'
import { apiHeaders } from '../response-headers.ts'
import { readInput } from './body.ts'
import type { Call, Endpoint, EndpointAccess, Reply, ResourceKind } from './endpoint.ts'
import { explainError } from './errors.ts'
import { type Matched, pathTree } from './path-tree.ts'
import { sendError, sendReply } from './reply.ts'

/** The REST API as one function. */
export interface Api {
  /** Answers a request completely. `path` is what follows `/hub/api`, without the query. */
  handle(req: IncomingMessage, res: ServerResponse, path: string): Promise<void>
}

export interface ApiDeps {
  readonly endpoints: readonly Endpoint[]
  readonly access: Access
  readonly requests: Requests
  readonly urls: HubUrls
  readonly log: Log
  readonly checkHost: HostCheck
  /** Told of every answer, also of refusals. */
  readonly answered: AnswerLog
}

/**
 * Serves the endpoints: finds the one that is meant, lets the caller in or not, parses query and
 * body, and sends what the handler gives. It speaks to Node's own messages, since the API carries
 * the hub's load and a web framework costs several times what most calls do.
 * @throws {Error} at once when two endpoints have the same method and path.
 */
export function createApi(deps: ApiDeps): Api {
  const tree = pathTree(deps.endpoints)
  const headers = apiHeaders(deps.urls)
  return {
    async handle(req, res, path) {
      const started = performance.now()
      const context = deps.requests.contextFor(req)
      let match: Matched | null = null
      try {
        if (req.method === 'OPTIONS') {
          res.writeHead(200, [...headers, 'Content-Length', '0']).end()
        } else {
          deps.checkHost(req, path)
          match = tree.find(req.method ?? '', path)
          await sendReply({ req, res, headers }, await answer(deps, match, context))
        }
      } catch (error) {
        const shown = explainError(error, { id: context.id, method: req.method, path }, deps.log)
        sendError({ req, res, headers }, shown)
      } finally {
        const pattern = match ? `/hub/api${match.endpoint.path}` : null
        deps.answered({ req, status: res.statusCode, peer: context.peer, pattern, started })
      }
    },
  }
}

async function answer(deps: ApiDeps, match: Matched, context: RequestContext): Promise<Reply> {
  const { endpoint, params } = match
  const identify = (): Promise<Caller | null> => identified(deps, context)
  const demand = async (scopes: readonly string[], on: ResourceKind): Promise<Caller> =>
    requireScope(deps.access, await identify(), scopes, resourceOf(on, params))
  const caller = await admit(endpoint.access, { identify, demand })
  const { query, body } = await readInput(endpoint, context)
  const call: Call<string, unknown, unknown> = {
    get caller() {
      if (caller) return caller
      throw new HubError('not_authenticated', 'Missing or invalid credentials.')
    },
    identify,
    require: demand,
    params,
    query,
    body,
    context,
  }
  return endpoint.handle(call as Call<string, never, never>)
}

/** The caller, if this endpoint is for them. @throws {HubError} 403 or 404. */
async function admit(
  access: EndpointAccess,
  {
    identify,
    demand,
  }: {
    readonly identify: () => Promise<Caller | null>
    readonly demand: (scopes: readonly string[], on: ResourceKind) => Promise<Caller>
  },
): Promise<Caller | null> {
  if (!('by' in access))
    return access.on === 'list'
      ? requireList(await identify(), access)
      : demand(access.scopes, access.on)
  if (access.by === 'handler') return null
  const caller = await identify()
  if (!caller) throw new HubError('not_authenticated', 'Forbidden')
  if (access.by === 'operator' && caller.proof.kind !== 'socket')
    throw new HubError('forbidden', "only for the operator, on the hub's own socket")
  return caller
}

/** The owner of the credentials, under the rules for requests that a browser may have been made to send. */
async function identified({ requests }: ApiDeps, context: RequestContext): Promise<Caller | null> {
  const found = await context.caller()
  if (found?.proof.kind !== 'session') return found
  if (isCrossFormat(context)) return null
  if (apiNeedsToken(context.provenance)) requests.xsrf.check(context, found)
  return found
}

/** A form of another site can post only some content types: a cookie counts with JSON alone (wire section 1.6). */
function isCrossFormat(context: RequestContext): boolean {
  const type = context.header('content-type')
  if (context.provenance.method !== 'POST' || type === null) return false
  return !type.split(';').some((part) => part.trim().toLowerCase().startsWith('application/json'))
}

/** Lists may be held filtered, by kinds of filter that can narrow them (wire section 5.4). */
function requireList(
  caller: Caller | null,
  { scopes, filters }: { readonly scopes: readonly string[]; readonly filters: readonly string[] },
): Caller {
  if (!caller) throw new HubError('not_authenticated', 'Missing or invalid credentials.')
  if (scopes.some((scope) => caller.scopes.has(scope))) return caller
  const held = scopes.flatMap((scope) => Object.entries(filtersOf(caller.scopes, scope)))
  const kinds = held.flatMap(([kind, names]) => (names.length > 0 ? [kind] : []))
  if (kinds.length > 0 && kinds.every((kind) => filters.includes(kind))) return caller
  throw new HubError(
    'missing_scope',
    `Action is not authorized with current scopes; requires any of [${scopes.join(', ')}]`,
  )
}

function resourceOf(kind: ResourceKind, params: Readonly<Record<string, string>>): Resource {
  const { user = '', server = '', group = '', service = '' } = params
  switch (kind) {
    case 'none':
      return { kind }
    case 'user':
      return { kind, user }
    case 'server':
      return { kind, user, server }
    case 'group':
      return { kind, group }
    case 'service':
      return { kind, service }
  }
}
