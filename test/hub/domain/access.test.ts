import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Access, type Caller, createAccess, requireScope } from '../../../hub/domain/access.ts'
import { Changes } from '../../../hub/domain/changes.ts'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serviceStore } from '../../../hub/store/services.ts'
import { sessionStore } from '../../../hub/store/sessions.ts'
import { tokenStore } from '../../../hub/store/tokens.ts'
import { type User, userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'

const folder = mkdtempSync(join(tmpdir(), 'portico-access-'))
let database: Database
let access: Access
const changes = new Changes()
let now = new Date('2026-11-22T12:00:00Z')
const clock = () => now

before(async () => {
  database = await openDatabase(join(folder, 'access.sqlite'))
  await roleStore(database).define(defaultRoles)
  const users = userStore(database)
  access = createAccess({
    users,
    tokens: tokenStore(database),
    sessions: sessionStore(database),
    roles: roleStore(database),
    changes,
    clock,
    blocked: new Set(['banned']),
  })
})
after(async () => {
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

async function makeUser(name: string, admin = false): Promise<User> {
  const user = await userStore(database).create(name, { admin, now })
  assert.ok(user)
  return user
}

async function tokenOf(user: User, scopes: readonly string[], expiresAt: Date | null = null) {
  const { secret } = await tokenStore(database).issue(
    { userId: user.id, scopes, note: '', expiresAt },
    now,
  )
  return secret
}

async function scopesOf(secret: string): Promise<readonly string[]> {
  return [...((await access.ofToken(secret))?.scopes ?? [])].toSorted()
}

describe('a token', () => {
  it('says who its owner is, whatever else it may do', async () => {
    const ada = await makeUser('ada')
    assert.deepEqual(await scopesOf(await tokenOf(ada, [])), [
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
    ])
  })

  it('of a server has the scopes of JupyterHub', async () => {
    const bob = await makeUser('bob')
    const secret = await tokenOf(bob, ['users:activity!user', 'access:servers!server=bob/'])
    assert.deepEqual(await scopesOf(secret), [
      'access:servers!server=bob/',
      'read:users:activity!user=bob',
      'read:users:groups!user=bob',
      'read:users:name!user=bob',
      'users:activity!user=bob',
    ])
  })

  it('never exceeds what its owner holds now', async () => {
    const carl = await makeUser('carl', true)
    const secret = await tokenOf(carl, ['admin:users', 'read:hub', 'servers!user=ada'])
    assert.ok((await access.ofToken(secret))?.scopes.has('admin:users'))
    await userStore(database).setAdmin('carl', false)
    changes.touchRights(carl.id)
    assert.deepEqual(await scopesOf(secret), [
      'read:users!user=carl',
      'read:users:activity!user=carl',
      'read:users:groups!user=carl',
      'read:users:name!user=carl',
      'users:activity!user=carl',
    ])
  })

  it('ends with its expiry, also when it is remembered', async () => {
    const dora = await makeUser('dora')
    const secret = await tokenOf(dora, ['inherit'], new Date(now.getTime() + 1000))
    assert.equal((await access.ofToken(secret))?.name, 'dora')
    const start = now
    now = new Date(start.getTime() + 1000)
    assert.equal(await access.ofToken(secret), null)
    now = start
  })

  it('of a blocked user is worth nothing, whether config or database say so', async () => {
    const banned = await makeUser('Banned')
    assert.equal(await access.ofToken(await tokenOf(banned, ['inherit'])), null)
    const fred = await makeUser('fred')
    const secret = await tokenOf(fred, ['inherit'])
    assert.ok(await access.ofToken(secret))
    await database.db.updateTable('users').set({ blocked: 1 }).where('id', '=', fred.id).execute()
    changes.touchRights(fred.id)
    assert.equal(await access.ofToken(secret), null)
  })

  it('that nobody has issued belongs to nobody', async () => {
    const hash = await database.db
      .selectFrom('api_tokens')
      .select('hashed')
      .executeTakeFirstOrThrow()
    for (const secret of ['', 'x', hash.hashed, 'sha512:1:a:b', '%', '\u0000', 'x'.repeat(16_000)])
      assert.equal(await access.ofToken(secret), null, secret.slice(0, 20))
  })
})

/** A token in JupyterHub's form, as an importer stores it. */
function jupyterHubHash(secret: string, rounds: number): string {
  const salt = '0123456789abcdef'
  const digest = createHash('sha512').update(salt)
  for (let round = 0; round < rounds; round += 1) digest.update(secret)
  return `sha512:${rounds}:${salt}:${digest.digest('hex')}`
}

describe('an imported token', () => {
  it('stays valid, whether the hub or somebody else has chosen it', async () => {
    const gina = await makeUser('gina')
    for (const [secret, rounds] of [
      ['0123456789abcdef0123456789abcdef', 1],
      ['chosen-by-hand', 16_384],
    ] as const) {
      const issued = await tokenStore(database).issue(
        { userId: gina.id, scopes: ['inherit'], note: '', expiresAt: null },
        now,
      )
      await database.db
        .updateTable('api_tokens')
        .set({ hashed: jupyterHubHash(secret, rounds), prefix: secret.slice(0, 4) })
        .where('id', '=', issued.id)
        .execute()
      assert.equal((await access.ofToken(secret))?.name, 'gina')
      assert.equal(await access.ofToken(`${secret}x`), null)
      assert.equal(await access.ofToken(issued.secret), null)
    }
  })
})

describe('a service', () => {
  it('has the scopes of its roles, about itself where they say so, and no self', async () => {
    const service = { name: 'culler', admin: false, url: null, command: [], info: {} }
    const { id } = await serviceStore(database).save(
      {
        ...service,
        display: false,
        timeout: 30,
        oauthClientId: null,
        oauthRedirectUri: null,
        oauthClientAllowedScopes: [],
        oauthNoConfirm: false,
        fromConfig: true,
      },
      now,
    )
    const role = { name: 'cull', description: '', users: [], groups: [], services: [id] }
    await roleStore(database).load([
      ...defaultRoles.map((one) => ({ ...one, users: null, groups: null, services: null })),
      { ...role, scopes: ['delete:servers', 'read:services!service', 'self'] },
    ])
    await serviceStore(database).setToken(id, 'the-token-of-the-culler', now)
    const caller = await access.ofToken('the-token-of-the-culler')
    assert.deepEqual(caller?.owner, {
      kind: 'service',
      service: { id, name: 'culler', admin: false },
    })
    assert.deepEqual(caller.roles, ['cull'])
    assert.deepEqual([...caller.scopes].toSorted(), [
      'delete:servers',
      'read:services!service=culler',
      'read:services:name!service=culler',
    ])
    await serviceStore(database).delete(id)
    changes.touchService(id)
    assert.equal(await access.ofToken('the-token-of-the-culler'), null)
  })
})

describe('a remembered caller', () => {
  it('is looked up again after a change of their own rights, and no other', async () => {
    const [hugo, iris] = [await makeUser('hugo'), await makeUser('iris')]
    const secret = await tokenOf(hugo, ['inherit'])
    const known = await access.ofToken(secret)
    changes.touchRights(iris.id)
    changes.touchFacts(hugo.id)
    assert.equal(await access.ofToken(secret), known)
    changes.touchRights(hugo.id)
    assert.notEqual(await access.ofToken(secret), known)
  })

  it('is not remembered when a change came during the look-up', async () => {
    const jane = await makeUser('jane', true)
    const secret = await tokenOf(jane, ['inherit'])
    const first = access.ofToken(secret)
    changes.touchRights(jane.id)
    const early = await first
    assert.notEqual(await access.ofToken(secret), early)
  })
})

describe('a refusal', () => {
  const caller = (scopes: readonly string[]): Caller => ({
    owner: { kind: 'operator' },
    name: 'x',
    groups: [],
    roles: [],
    scopes: new Set(scopes),
    proof: { kind: 'socket' },
  })
  const ask = (scopes: readonly string[] | null, on: Parameters<typeof requireScope>[3]) =>
    requireScope(access, scopes === null ? null : caller(scopes), ['read:users'], on).then(
      () => ['passes'],
      (error: unknown) => {
        const { code, message } = error as { code: string; message: string }
        return [code, message]
      },
    )

  it('is 403 for strangers and for those who lack the scope, naming it', async () => {
    const on = { kind: 'user', user: 'ada' } as const
    assert.deepEqual(await ask(null, on), ['not_authenticated', 'Missing or invalid credentials.'])
    const [code, text] = await ask(['read:hub'], on)
    assert.equal(code, 'missing_scope')
    assert.match(text ?? '', /requires any of \[read:users\]$/)
  })

  it('does not tell what exists to those who hold the scope for something else', async () => {
    for (const user of ['ada', 'nobody'])
      assert.deepEqual(await ask(['read:users!user=bob'], { kind: 'user', user }), [
        'not_found',
        'No access to resources or resources not found',
      ])
  })

  it('is 403 for a filtered scope where no resource is named', async () => {
    const [code] = await ask(['read:users!user=bob'], { kind: 'none' })
    assert.equal(code, 'missing_scope')
  })
})
