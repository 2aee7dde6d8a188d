import { STATUS_CODES } from 'node:http'
import { z } from 'zod'
import { type Endpoint, endpoint, type EndpointAccess } from './endpoint.ts'
import { wireVersion } from './hub.ts'
import { prepareJson } from './reply.ts'

type Node = Readonly<Record<string, unknown>>

/** The endpoints and one more, `GET /openapi.json`, which describes them all. */
export function withDocument(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const all: Endpoint[] = [...endpoints]
  let document: ReturnType<typeof prepareJson> | null = null
  all.push(
    endpoint({
      method: 'GET',
      path: '/openapi.json',
      summary: 'This description of the API',
      access: { by: 'handler' },
      answers: { 200: z.looseObject({ openapi: z.literal('3.1.0') }) },
      handle: () => ({ kind: 'prepared', json: (document ??= prepareJson(describeApi(all))) }),
    }),
  )
  return all
}

/**
 * The API in OpenAPI 3.1, made from the schemas that also check requests.
 * https://spec.openapis.org/oas/v3.1.0
 */
export function describeApi(endpoints: readonly Endpoint[]): Node {
  const paths: Record<string, Record<string, Node>> = {}
  for (const one of endpoints) {
    const path = one.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: describeEndpoint(one) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Portico REST API',
      version: wireVersion,
      description: 'The REST API of JupyterHub 6, as this hub serves it.',
      license: { name: 'BSD-3-Clause', identifier: 'BSD-3-Clause' },
    },
    servers: [{ url: '.' }],
    security: [{ token: [] }, { cookie: [] }],
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'apiKey',
          in: 'header',
          name: 'Authorization',
          description: '`Authorization: token SECRET` (or `bearer`)',
        },
        cookie: {
          type: 'apiKey',
          in: 'cookie',
          name: 'jupyterhub-hub-login',
          description: 'The login of a browser; changes also need the `_xsrf` token',
        },
      },
      schemas: { Error: errorSchema },
    },
  }
}

const errorSchema = {
  type: 'object',
  properties: { status: { type: 'integer' }, message: { type: 'string' } },
  required: ['status', 'message'],
}

function describeEndpoint(one: Endpoint): Node {
  return {
    operationId: idOf(one),
    summary: one.summary,
    tags: [tagOf(one.path)],
    ...(isOpen(one.access) ? { security: [] } : {}),
    ...scopesOf(one.access),
    parameters: [...pathParameters(one.path), ...queryParameters(one.query)],
    ...(one.body ? { requestBody: describeBody(one) } : {}),
    responses: {
      ...Object.fromEntries(
        Object.entries(one.answers).map(([status, meaning]) => [
          status,
          describeAnswer(status, meaning),
        ]),
      ),
      default: {
        description: 'Refused: the message says why',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  }
}

/** A path with an empty last segment is about a default server. */
function idOf({ method, path }: Endpoint): string {
  const named = path.replace(/(?<=.)\/$/, '/default')
  const id = `${method} ${named}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')
  return id.replace(/_$/, '')
}

const isOpen = (access: EndpointAccess): boolean =>
  'by' in access && access.by === 'handler' && !access.scopes

function scopesOf(access: EndpointAccess): Node {
  const scopes = 'scopes' in access ? (access.scopes ?? []) : []
  if (scopes.length === 0) return {}
  const text = `Needs ${scopes.length > 1 ? 'any of ' : ''}${scopes.map((scope) => `\`${scope}\``).join(', ')}.`
  return { description: text, 'x-scopes': scopes }
}

/** What a call is about, by the first word of its path that says so; everything else is the hub itself. */
function tagOf(path: string): string {
  const segments = path.replace(/^\/users\/:user(?=\/)/, '').split('/')
  return segments.map((segment) => tags.get(segment)).find((tag) => tag !== undefined) ?? 'hub'
}

const tags: ReadonlyMap<string, string> = new Map([
  ['server', 'servers'],
  ['servers', 'servers'],
  ['tokens', 'tokens'],
  ['shared', 'shares'],
  ['shares', 'shares'],
  ['share-codes', 'shares'],
  ['groups', 'groups'],
  ['services', 'services'],
  ['user', 'users'],
  ['users', 'users'],
  ['oauth2', 'oauth2'],
  ['proxy', 'proxy'],
  ['authorizations', 'authorizations'],
])

function pathParameters(path: string): readonly Node[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters(query: z.ZodObject | undefined): readonly Node[] {
  if (!query) return []
  const { required: needed = [] } = schemaOf(query) as { required?: readonly string[] }
  return Object.entries(query.shape).map(([name, schema]) => {
    const { description, ...shape } = schemaOf(schema as z.ZodType) as { description?: string }
    return {
      name,
      in: 'query',
      required: needed.includes(name),
      ...(description ? { description } : {}),
      schema: shape,
    }
  })
}

function describeBody({ body, bodyFormat, bodyRequired }: Endpoint): Node {
  const type = bodyFormat === 'form' ? 'application/x-www-form-urlencoded' : 'application/json'
  return {
    required: bodyRequired === true && body?.safeParse(null).success !== true,
    content: {
      [type]: { schema: bodyFormat === 'form' || !body ? { type: 'object' } : schemaOf(body) },
    },
  }
}

function describeAnswer(status: string, meaning: z.ZodType | string): Node {
  if (typeof meaning === 'string') return { description: meaning }
  return {
    description: STATUS_CODES[status] ?? '',
    content: { 'application/json': { schema: schemaOf(meaning, 'output') } },
  }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'input'): Node {
  const { $schema: _draft, ...shape } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return shape
}
