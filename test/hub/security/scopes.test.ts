import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import {
  filledPath,
  type Operation,
  operationsOf,
  readDocument,
} from '../../support/api-document.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const secretOfNobody = 'token-of-a-service-without-scopes'

/** Names that exist: what each parameter of a path stands for. */
const there: Readonly<Record<string, string>> = {
  user: 'ada',
  owner: 'bob',
  group: 'team',
  service: 'late',
  server: 'lab',
  name: '',
  token: 'a999999',
}

/** Names of nothing. */
const nowhere = { ...there, user: 'ghost', group: 'ghosts', service: 'ghost' }

const noAccess = '"No access to resources or resources not found"'

type Kind = 'none' | 'list' | 'user' | 'server' | 'group' | 'service'

/** What an endpoint's scopes must be held on (wire section 5.4). */
function kindOf({ method, path }: Operation): Kind {
  if (path.startsWith('/services/{')) return 'service'
  if (path.startsWith('/groups/{')) return 'group'
  if (/^\/users\/\{user\}\/servers?(?:\/|$)|^\/share(?:s|-codes)\/\{user\}\//.test(path))
    return 'server'
  if (/\{user\}/.test(path) || path === '/explain') return 'user'
  return method === 'GET' && /^\/(?:users|groups|services)$/.test(path) ? 'list' : 'none'
}

/** Filters that reach what `there` names, by what must be reached. */
const fitting: Readonly<Record<Kind, readonly string[]>> = {
  none: [''],
  list: [''],
  user: ['', '!user=ada', '!group=team'],
  server: ['', '!user=ada', '!group=team', '!server=ada/SERVER'],
  group: ['', '!group=team'],
  service: ['', '!service=late'],
}

/** Filters that reach something else, or nothing. */
const missing: Readonly<Record<Kind, readonly string[]>> = {
  none: ['!user=ada', '!group=team', '!server=ada/lab', '!server=ada/', '!service=late'],
  list: ['!server=ada/', '!server=ada/lab'],
  user: ['!user=bob', '!user=ad', '!group=empty', '!server=ada/', '!service=ada'],
  server: ['!user=bob', '!group=empty', '!server=bob/lab', '!server=ada/other'],
  group: ['!group=empty', '!user=team'],
  service: ['!service=fixed', '!user=late', '!group=late'],
}

/** Which filters narrow a list (wire section 5.4). */
const narrowing: Readonly<Record<string, readonly string[]>> = {
  '/users': ['!user=ada', '!group=team'],
  '/groups': ['!group=team'],
  '/services': ['!service=late'],
}

describe('at every endpoint that asks for scopes', () => {
  let test: TestHub
  let guarded: readonly Operation[]
  const tokens = new Map<string, Promise<string>>()

  before(async () => {
    test = await startTestHub({
      config: {
        hub: { adminUsers: ['root'], allowNamedServers: true, loadGroups: { empty: [] } },
        services: [
          { name: 'bare', apiToken: secretOfNobody },
          { name: 'fixed', apiToken: 'token-of-the-fixed-service' },
        ],
      },
    })
    const all = operationsOf(await readDocument(test.hub.internalUrl))
    guarded = all.filter(({ scopes }) => scopes.length > 0)
    assert.ok(guarded.length > 60)
    await restore()
  })
  after(() => test[Symbol.asyncDispose]())

  /** A token of an admin with this scope alone. */
  function tokenWith(scope: string): Promise<string> {
    const made =
      tokens.get(scope) ??
      test.operator.createToken('root', { scopes: [scope] }).then(({ token }) => token)
    tokens.set(scope, made)
    return made
  }

  /** A body that no call takes shows who has been let in without doing anything. */
  async function send(one: Operation, names: Readonly<Record<string, string>>, token?: string) {
    const query = one.path === '/explain' ? `?scope=read:hub&user=${names['user']}` : ''
    const answer = await fetch(
      `${test.hub.internalUrl}/hub/api${filledPath(one.path, names)}${query}`,
      {
        method: one.method,
        headers: token === undefined ? {} : { Authorization: `token ${token}` },
        ...(one.method === 'GET' ? {} : { body: takesLoginData(one) ? '{}' : '{' }),
        signal: AbortSignal.timeout(60_000),
      },
    )
    return { status: answer.status, text: await answer.text() }
  }

  async function restore(): Promise<void> {
    const token = await tokenWith('inherit')
    const calls = [
      ['POST', 'users', { usernames: ['ada', 'bob'] }],
      ['POST', 'groups/team', {}],
      ['POST', 'groups/team/users', { users: ['ada'] }],
      ['POST', 'services/late', { display: true }],
      ['PUT', 'users/ada/servers/lab', {}],
    ] as const
    for (const [method, path, body] of calls)
      await fetch(`${test.hub.internalUrl}/hub/api/${path}`, {
        method,
        headers: { Authorization: `token ${token}` },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(60_000),
      })
  }

  const name = ({ method, path }: Operation) => `${method} ${path}`
  const required = ({ scopes }: Operation) => `requires any of [${scopes.join(', ')}]`

  it('nobody gets in without credentials, or with wrong ones', async () => {
    for (const one of guarded)
      for (const token of [undefined, 'wrong'])
        assert.deepEqual(
          await send(one, there, token),
          { status: 403, text: '{"status":403,"message":"Missing or invalid credentials."}' },
          name(one),
        )
  })

  it('nobody gets in without one of the scopes, and is told which', async () => {
    for (const one of guarded) {
      const bare = await send(one, there, secretOfNobody)
      assert.equal(bare.status, 403, name(one))
      const unrelated = await send(one, there, await tokenWith(unrelatedTo(one)))
      const knowsNames = one.scopes.some((scope) => /^read:users:(?:name|groups)$/.test(scope))
      assert.equal(unrelated.status, knowsNames ? 404 : 403, name(one))
      assert.ok(bare.text.includes(required(one)), `${name(one)}: ${bare.text}`)
      if (!knowsNames) assert.ok(unrelated.text.includes(required(one)), unrelated.text)
    }
  })

  it('each one of the scopes lets in, by every filter that reaches so far', async () => {
    for (const one of guarded)
      for (const scope of one.scopes)
        for (const filter of fitting[kindOf(one)]) {
          const server = one.path.includes('{server}') ? 'lab' : ''
          const held = scope + filter.replace('SERVER', server)
          const { status, text } = await send(one, there, await tokenWith(held))
          const what = `${name(one)} by ${held}: ${status} ${text}`
          assert.ok(!text.includes('requires any of') && !text.includes(noAccess), what)
          assert.ok(status < 500 && (status !== 403 || one.path.endsWith('/admin-access')), what)
          if (one.method === 'DELETE') await restore()
        }
  })

  it('GHSA-69wv-m5fw-2fhp: no filtered scope lets in where nothing is named', async () => {
    for (const one of guarded) {
      const kind = kindOf(one)
      if (kind !== 'none' && kind !== 'list') continue
      for (const scope of one.scopes) {
        for (const filter of missing[kind]) {
          const { status, text } = await send(one, there, await tokenWith(scope + filter))
          assert.equal(status, 403, `${name(one)} by ${scope}${filter}`)
          assert.ok(text.includes(required(one)), text)
        }
        if (kind === 'none') continue
        for (const filter of narrowing[one.path] ?? []) {
          const { status, text } = await send(one, there, await tokenWith(scope + filter))
          assert.equal(status, 200)
          assert.equal(namesIn(text).length, 1, `${name(one)} by ${scope}${filter}: ${text}`)
        }
      }
    }
  })

  it('a scope on something else tells nothing of what there is', async () => {
    for (const one of guarded) {
      const kind = kindOf(one)
      if (kind === 'none' || kind === 'list') continue
      const filters: readonly string[] = missing[kind]
      for (const scope of one.scopes)
        for (const filter of filters) {
          const token = await tokenWith(scope + filter)
          const seen = await send(one, there, token)
          const unseen = await send(one, nowhere, token)
          const what = `${name(one)} by ${scope}${filter}: ${seen.text}`
          if (takesLoginData(one)) assert.deepEqual([seen.status, unseen.status], [403, 403], what)
          else {
            assert.equal(seen.status, 404, what)
            assert.ok(seen.text.includes(noAccess), what)
            assert.deepEqual(unseen, seen, what)
          }
        }
    }
  })
})

/** It looks at its body before it turns anybody away, and never says 404. */
const takesLoginData = ({ method, path }: Operation): boolean =>
  method === 'POST' && path === '/users/{user}/tokens'

/** A scope that has nothing to do with a call. */
const unrelatedTo = ({ scopes }: Operation): string =>
  scopes.includes('read:hub') ? 'read:metrics' : 'read:hub'

/** Names of what a list shows. */
function namesIn(text: string): readonly string[] {
  const list = JSON.parse(text) as Record<string, unknown> | { readonly name: string }[]
  return Array.isArray(list) ? list.map((one) => one.name) : Object.keys(list)
}
