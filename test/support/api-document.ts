/** One call of the REST API, as `GET /hub/api/openapi.json` describes it. */
export interface Operation {
  readonly method: string
  /** Below `/hub/api`, with `{name}` for each parameter. */
  readonly path: string
  /** Any of these is enough; empty where none is asked for. */
  readonly scopes: readonly string[]
  /** Names of the query's parameters. */
  readonly query: readonly string[]
  /** The schema of a JSON body, or `form`; null where there is none. */
  readonly body: Schema | 'form' | null
  /** By status: the schema of a JSON answer; null for other answers. */
  readonly answers: Readonly<Record<string, Schema | null>>
}

/** JSON Schema, as far as the document uses it. */
export interface Schema {
  readonly [keyword: string]: unknown
}

export interface ApiDocument {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

interface OperationObject {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly parameters: readonly ParameterObject[]
  readonly requestBody?: { readonly content: Content }
  readonly responses: Readonly<Record<string, ResponseObject>>
  readonly 'x-scopes'?: readonly string[]
}

interface ParameterObject {
  readonly name: string
  readonly in: string
  readonly required: boolean
}

interface ResponseObject {
  readonly description: string
  readonly content?: Content
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>

const json = 'application/json'

/** `origin` may be followed by the hub's base url, without a slash at its end. */
export async function readDocument(origin: string): Promise<ApiDocument> {
  const answer = await fetch(`${origin}/hub/api/openapi.json`, {
    signal: AbortSignal.timeout(30_000),
  })
  return (await answer.json()) as ApiDocument
}

/** Every call of the document. */
export function operationsOf({ paths }: ApiDocument): readonly Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({
      method: method.toUpperCase(),
      path,
      scopes: one['x-scopes'] ?? [],
      query: one.parameters.filter((parameter) => parameter.in === 'query').map(nameOf),
      body: bodyOf(one),
      answers: Object.fromEntries(
        Object.entries(one.responses).map(([status, { content }]) => [
          status,
          content?.[json]?.schema ?? null,
        ]),
      ),
    })),
  )
}

const nameOf = ({ name }: ParameterObject): string => name

function bodyOf({ requestBody }: OperationObject): Schema | 'form' | null {
  if (!requestBody) return null
  return requestBody.content[json]?.schema ?? 'form'
}

/** The path with its parameters filled in, percent-encoded by the caller. */
export function filledPath(path: string, values: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => values[name] ?? 'none')
}

/** Names of the parameters in a path. */
export function pathParameters(path: string): readonly string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
}
