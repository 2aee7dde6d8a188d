import type { Router } from 'express'
import type { Endpoint } from '../api/endpoint.ts'
import { describeApi } from '../api/openapi.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly 'x-scopes'?: readonly string[]
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: unknown }>>
  }
  readonly responses: Readonly<
    Record<
      string,
      {
        readonly description: string
        readonly content?: Readonly<Record<string, { readonly schema: unknown }>>
      }
    >
  >
}

/** `/hub/api-docs`: the REST API for people, from the same description as `openapi.json`. */
export function apiDocsPage(pages: Pages, endpoints: readonly Endpoint[]): Router {
  const groups = groupsOf(describeApi(endpoints))
  const router = strictRouter()
  router.get('/api-docs', async (req, res) => {
    await pages.show(req, res, 'api-docs', { groups, apiUrl: `${pages.urls.hubPrefix}api` })
  })
  return router
}

function groupsOf(document: Readonly<Record<string, unknown>>) {
  const paths = document['paths'] as Readonly<Record<string, Readonly<Record<string, Operation>>>>
  const groups = new Map<string, object[]>()
  for (const [path, methods] of Object.entries(paths))
    for (const [method, operation] of Object.entries(methods)) {
      const [tag = 'hub'] = operation.tags
      groups.set(tag, [...(groups.get(tag) ?? []), viewOf(method, path, operation)])
    }
  const sorted = [...groups].toSorted(([a], [b]) => a.localeCompare(b))
  return sorted.map(([name, operations]) => ({ name, operations }))
}

function viewOf(method: string, path: string, operation: Operation) {
  const { operationId, summary, parameters, requestBody, responses } = operation
  return {
    id: operationId,
    method: method.toUpperCase(),
    path,
    summary,
    scopes: operation['x-scopes'] ?? [],
    query: parameters.filter((each) => each.in === 'query').map(({ name }) => name),
    body: requestBody ? schemaText(requestBody.content) : null,
    answers: Object.entries(responses).map(([status, { description, content }]) => ({
      status,
      description,
      body: content && status !== 'default' ? schemaText(content) : null,
    })),
  }
}

function schemaText(content: Readonly<Record<string, { readonly schema: unknown }>>): string {
  const [first] = Object.values(content)
  return JSON.stringify(first?.schema, null, 2)
}
