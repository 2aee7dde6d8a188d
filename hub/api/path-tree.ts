import { HubError } from '../../packages/core/errors.ts'
import type { Endpoint } from './endpoint.ts'

/** The endpoint that a request means, and the values in its path. */
export interface Matched {
  readonly endpoint: Endpoint
  readonly params: Readonly<Record<string, string>>
}

/** Finds endpoints by method and path; the time depends on the length of the path alone. */
export interface PathTree {
  /** @throws {HubError} `not_found`, `method_not_allowed`, `invalid_request` for bad percent-encoding. */
  find(method: string, path: string): Matched
}

interface Branch {
  readonly byName: Map<string, Branch>
  anyName: Branch | null
  readonly endpoints: Map<
    string,
    { readonly endpoint: Endpoint; readonly names: readonly string[] }
  >
}

/** @throws {Error} when two endpoints have the same method and path. */
export function pathTree(endpoints: readonly Endpoint[]): PathTree {
  const root = branch()
  for (const endpoint of endpoints) plant(root, endpoint)
  return {
    find(method, path) {
      const segments = segmentsOf(path)
      const found = walk(root, segments, [])
      if (!found) throw new HubError('not_found', `there is no ${method} ${shown(path)}`)
      const entry = found.branch.endpoints.get(method === 'HEAD' ? 'GET' : method)
      if (!entry) throw new HubError('method_not_allowed', `${method} is not allowed here`)
      const params: Record<string, string> = {}
      entry.names.forEach((name, index) => (params[name] = decoded(found.values[index] ?? '')))
      return { endpoint: entry.endpoint, params }
    },
  }
}

const branch = (): Branch => ({ byName: new Map(), anyName: null, endpoints: new Map() })

function plant(root: Branch, endpoint: Endpoint): void {
  const names: string[] = []
  let here = root
  for (const segment of segmentsOf(endpoint.path)) {
    if (segment.startsWith(':')) {
      names.push(segment.slice(1))
      here = here.anyName ??= branch()
      continue
    }
    const next: Branch = here.byName.get(segment) ?? branch()
    here.byName.set(segment, next)
    here = next
  }
  if (here.endpoints.has(endpoint.method))
    throw new Error(`${endpoint.method} ${endpoint.path} is defined twice`)
  here.endpoints.set(endpoint.method, { endpoint, names })
}

interface Found {
  readonly branch: Branch
  readonly values: readonly string[]
}

/** A literal segment comes before a parameter of the same place, and gives way where it leads nowhere. */
function walk(from: Branch, segments: readonly string[], values: readonly string[]): Found | null {
  const [segment, ...rest] = segments
  if (segment === undefined) return from.endpoints.size > 0 ? { branch: from, values } : null
  const literal = from.byName.get(segment)
  const found = literal ? walk(literal, rest, values) : null
  if (found || segment === '' || !from.anyName) return found
  return walk(from.anyName, rest, [...values, segment])
}

/** A trailing slash is an empty last segment. */
function segmentsOf(path: string): readonly string[] {
  return path === '' || path === '/' ? [] : path.slice(1).split('/')
}

function decoded(segment: string): string {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new HubError('invalid_request', 'the path is not valid percent-encoding')
  }
}

const shown = (path: string): string => path.slice(0, 200)
