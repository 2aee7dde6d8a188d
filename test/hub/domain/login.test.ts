import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { AuthenticatorOptions } from '../../../hub/config.ts'
import { authenticatorSchema } from '../../../hub/config/schema.ts'
import { Changes } from '../../../hub/domain/changes.ts'
import { createAdmission, invalidName } from '../../../hub/domain/admission.ts'
import { createAuthStates } from '../../../hub/domain/auth-states.ts'
import { IdentityRecords } from '../../../hub/domain/identity-records.ts'
import { LoginAccounts } from '../../../hub/domain/login-accounts.ts'
import { LoginGuard } from '../../../hub/domain/login-guard.ts'
import { createLogin } from '../../../hub/domain/login.ts'
import { createEvents } from '../../../hub/events.ts'
import { createLog } from '../../../hub/log.ts'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { groupStore } from '../../../hub/store/groups.ts'
import { identityStore } from '../../../hub/store/identities.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { sessionStore } from '../../../hub/store/sessions.ts'
import { userStore } from '../../../hub/store/users.ts'
import type { Authenticator, Identity } from '../../../packages/core/authenticator.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'
import { nameKey } from '../../../packages/core/slug.ts'
import { metrics } from '../../support/unwatched.ts'

const folder = mkdtempSync(join(tmpdir(), 'portico-login-'))
let database: Database

before(async () => {
  database = await openDatabase(join(folder, 'login.sqlite'))
  await roleStore(database).define(defaultRoles)
})
after(async () => {
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

type Options = Parameters<(typeof authenticatorSchema)['parse']>[0]

/** A login pipeline on the shared database, for an authenticator that believes everybody. */
function pipeline(
  options: Options,
  identity: Partial<Identity> = {},
  more: Partial<Authenticator> = {},
) {
  const lines: string[] = []
  const [users, sessions] = [userStore(database), sessionStore(database)]
  const clock = () => new Date()
  const parsed = authenticatorSchema.parse(options)
  const authenticator: Authenticator = {
    authenticate: ({ form }) =>
      Promise.resolve({
        kind: 'identified',
        identity: { userName: form['username'] ?? '', ...identity },
      }),
    ...more,
  }
  const deps = {
    metrics,
    authenticator,
    provider: 'test',
    options: {
      ...parsed,
      allowAll: parsed.allowAll ?? false,
      allowExistingUsers: parsed.allowExistingUsers ?? parsed.allowedUsers.length > 0,
    } as AuthenticatorOptions,
    users,
    groupRows: groupStore(database),
    roles: roleStore(database),
    identities: identityStore(database),
    configAdmins: parsed.adminUsers,
    sessions,
    changes: new Changes(),
    events: createEvents(),
    log: createLog({ level: 'info', pretty: false, write: (line) => lines.push(line) }),
    clock,
    sessionDays: 14,
    cookieKeyId: 'key',
    noteLogin: () => {},
    spawnerRefusal: () => Promise.resolve(null),
  }
  const admission = createAdmission(deps)
  const authStates = createAuthStates({ ...deps, cipher: null })
  const records = new IdentityRecords({ ...deps, authStates })
  const guard = new LoginGuard({ refusalTime: 0, freeFailures: 0, throttled: () => {}, metrics })
  const login = createLogin({
    ...deps,
    admission,
    records,
    guard,
    accounts: new LoginAccounts(deps),
  })
  const attempt = (username: string, form: Record<string, string> = {}) =>
    login.attempt({
      form: { username, ...form },
      headers: {},
      peerAddress: '192.0.2.1',
      signal: AbortSignal.timeout(30_000),
    })
  return { attempt, lines, users }
}

describe('the login pipeline', () => {
  it('lets in nobody without an allow rule, not even an admin', async () => {
    const { attempt, lines } = pipeline({ adminUsers: ['boss'] })
    assert.equal(await attempt('ada'), null)
    assert.equal(await attempt('boss'), null)
    assert.match(lines.join(), /no allow rule matches/)
  })

  it('lets in whom allowedUsers names, under one normalised name', async () => {
    const { attempt } = pipeline({ allowedUsers: ['Ada'] })
    const names = ['ada', 'ADA', ' Ada ', '\uff21da', 'ad\u00aa']
    for (const name of names) assert.equal((await attempt(name))?.user.name, 'ada', name)
    assert.equal(await attempt('bob'), null)
  })

  it('lets a block win over every allow rule, however the name is written', async () => {
    const { attempt, lines } = pipeline({
      allowAll: true,
      allowedUsers: ['mike'],
      adminUsers: ['mike'],
      blockedUsers: ['Mike'],
    })
    for (const name of ['mike', 'MIKE', 'mi\u212ae', '\uff4dike'])
      assert.equal(await attempt(name), null)
    assert.match(lines.join(), /blockedUsers/)
  })

  it('refuses a user who is marked as blocked', async () => {
    const { attempt, users } = pipeline({ allowAll: true })
    const login = await attempt('outlaw')
    assert.ok(login)
    await database.db
      .updateTable('users')
      .set({ blocked: 1 })
      .where('id', '=', login.user.id)
      .execute()
    assert.equal(await attempt('outlaw'), null)
    assert.ok(await users.findByName('outlaw'))
  })

  it('maps a name once, after normalising, and checks the mapped name', async () => {
    const { attempt } = pipeline({
      allowedUsers: ['b', 'c'],
      usernameMap: { a: 'b', b: 'c', evil: '../etc', constructor: 'b' },
    })
    assert.equal((await attempt('A'))?.user.name, 'b')
    assert.equal((await attempt('b'))?.user.name, 'c')
    assert.equal(await attempt('evil'), null)
    assert.equal(await attempt('toString'), null)
  })

  it('takes the pattern for the whole name', async () => {
    const { attempt } = pipeline({ allowAll: true, usernamePattern: /a|ab|x[0-9]+/g })
    for (const name of ['a', 'ab', 'x12', 'ab', 'x12'])
      assert.equal((await attempt(name))?.user.name, name)
    for (const name of ['abc', 'xa', 'x1\nx', 'bab', 'a.']) assert.equal(await attempt(name), null)
  })

  it('has names that no path, log or header can misread', async () => {
    const { attempt, lines } = pipeline({ allowAll: true })
    const bad = [
      '',
      ' ',
      '/',
      'a/b',
      '／',
      'a／b',
      '.',
      '..',
      '．．',
      '․',
      '‥',
      'a\0b',
      'a\r\nSet-Cookie: x=1',
      'a	b',
      '\x07',
      'a​b',
      'a﻿a',
      'a‮b',
      'a\ud800',
      `${'a'.repeat(256)}`,
    ]
    for (const name of bad) {
      const found = await attempt(name).catch((error: unknown) => String(error))
      const isRefused = found === null || (typeof found === 'string' && /too long/.test(found))
      assert.ok(isRefused, JSON.stringify(name.slice(0, 40)))
    }
    assert.ok(lines.every((line) => line.length < 400 && !/[\r\n\0]/.test(line)))
  })

  it('accepts names that only programs find strange', async () => {
    const { attempt } = pipeline({ allowAll: true })
    for (const name of [
      'constructor',
      '__proto__',
      'hub',
      'null',
      '-rf',
      "o'brien",
      'a b',
      'zo\u00eb',
      '%2e',
    ])
      assert.equal((await attempt(name))?.user.name, nameKey(name))
  })

  it('makes an admin of whom config or authenticator name, and leaves others as they are', async () => {
    const byConfig = pipeline({ allowAll: true, adminUsers: ['Chief'] })
    await byConfig.attempt('chief')
    assert.equal((await byConfig.users.findByName('chief'))?.admin, true)
    const demoting = pipeline({ allowAll: true }, { admin: false })
    await demoting.attempt('chief')
    assert.equal((await demoting.users.findByName('chief'))?.admin, false)
    const isAdmin = async (roles: Identity['roles'], more: object = {}) => {
      const { attempt, users } = pipeline(
        { allowAll: true, manageRoles: true, ...more },
        roles ? { roles } : {},
      )
      await attempt('deputy')
      return (await users.findByName('deputy'))?.admin
    }
    assert.equal(await isAdmin([{ name: 'admin' }]), true)
    assert.equal(await isAdmin(undefined), true)
    assert.equal(await isAdmin([{ name: 'reader' }]), false)
    assert.equal(await isAdmin([], { adminUsers: ['deputy'] }), true)
  })

  it('asks the hook last, which may refuse, and a hook that throws refuses', async () => {
    const seen: string[] = []
    const { attempt } = pipeline({
      allowedUsers: ['hooked', 'thrown'],
      postAuthHook: (identity: Identity) => {
        seen.push(identity.userName)
        if (identity.userName === 'thrown') throw new Error('no')
        return identity.userName === 'hooked' ? identity : null
      },
    })
    assert.equal((await attempt('Hooked'))?.user.name, 'hooked')
    assert.equal(await attempt('stranger'), null)
    assert.equal(await attempt('thrown'), null)
    assert.deepEqual(seen, ['hooked', 'thrown'])
  })

  it('leaves no user behind whom the authenticator does not take', async () => {
    let isOpen = false
    const addUser = () => (isOpen ? Promise.resolve() : Promise.reject(new Error('no account')))
    const { attempt, lines, users } = pipeline({ allowAll: true }, {}, { addUser })
    for (const _ of [1, 2]) assert.equal(await attempt('homeless'), null)
    assert.match(lines.join(), /no account/)
    assert.equal(await users.findByName('homeless'), null)
    isOpen = true
    assert.equal((await attempt('homeless'))?.user.name, 'homeless')
  })

  it('takes a failing or stubborn authenticator for a refusal', async () => {
    const failing = pipeline(
      { allowAll: true },
      {},
      { authenticate: () => Promise.reject(new Error('x')) },
    )
    assert.equal(await failing.attempt('ada'), null)
    assert.match(failing.lines.join(), /"reason":"x"/)
  })

  it('bounds every field before anybody looks at it', async () => {
    let asked = 0
    const { attempt, lines } = pipeline(
      { allowAll: true },
      {},
      {
        authenticate: () => {
          asked += 1
          return Promise.resolve({ kind: 'denied', reason: 'asked' })
        },
      },
    )
    const big = 'x'.repeat(5_000_000)
    await assert.rejects(attempt(big), /username is too long/)
    await assert.rejects(attempt('ada', { password: big }), /password is too long/)
    await assert.rejects(attempt('ada', { otp: big }), /otp is too long/)
    assert.equal(asked, 0)
    assert.ok(lines.join('').length < 1000)
  })

  it('gives every login a session and a secret of its own', async () => {
    const { attempt } = pipeline({ allowAll: true })
    const [one, two] = [await attempt('ada'), await attempt('ada')]
    assert.ok(one && two)
    assert.notEqual(one.secret, two.secret)
    assert.notEqual(one.session.browserSessionId, two.session.browserSessionId)
    assert.match(one.session.browserSessionId, /^[0-9a-f]{32}$/)
    const rows = await database.db.selectFrom('sessions').select('secret_hash').execute()
    assert.ok(rows.every((row) => !row.secret_hash.includes(one.secret)))
  })
})

describe('the form under which names are unique', () => {
  it('is its own normal form, for every character', () => {
    for (let code = 0; code < 0x1_0000; code += 1) {
      if (code >= 0xd800 && code < 0xe000) continue
      const name = `a${String.fromCodePoint(code)}b`
      const key = nameKey(name)
      if (invalidName(key, null) === null) assert.equal(nameKey(key), key, code.toString(16))
    }
  })
})

describe('an account at a provider', () => {
  const issuer = 'https://idp.example.org'
  const account = (subject: string, options: object = {}) =>
    pipeline({ allowAll: true, ...options }, { issuer, subject })

  it('has one user, also when it comes twice at once', async () => {
    const { attempt } = account('s-1')
    const both = await Promise.all([attempt('newton'), attempt('newton')])
    assert.deepEqual(
      both.map((login) => login?.user.name),
      ['newton', 'newton'],
    )
    assert.equal((await attempt('somebody-else'))?.user.name, 'newton')
  })

  it('gets a new name alone, when two of them come at once', async () => {
    const both = await Promise.all([
      account('s-2').attempt('leibniz'),
      account('s-3').attempt('leibniz'),
    ])
    assert.equal(both.filter((login) => login !== null).length, 1)
  })

  it('is judged by the name of its user, not by the one it says', async () => {
    const { attempt, users } = account('s-4')
    await attempt('euler')
    const said = (options: object) =>
      account('s-4', { allowAll: false, allowExistingUsers: false, ...options })
    assert.equal(await said({ allowedUsers: ['gauss'] }).attempt('gauss'), null)
    assert.ok(await said({ allowedUsers: ['euler'] }).attempt('gauss'))
    assert.equal(await said({ allowAll: true, blockedUsers: ['euler'] }).attempt('gauss'), null)
    await said({ allowAll: true, adminUsers: ['gauss'] }).attempt('gauss')
    assert.equal((await users.findByName('euler'))?.admin, false)
  })

  it('takes over nobody, unless linkExisting says so, and nobody who has an account there', async () => {
    await pipeline({ allowAll: true }).attempt('bernoulli')
    const refused = account('s-5')
    assert.equal(await refused.attempt('bernoulli'), null)
    assert.match(refused.lines.join(), /bernoulli exists.*linkExisting/)
    assert.equal(await account('s-5', { linkExisting: ['jakob'] }).attempt('bernoulli'), null)
    assert.ok(await account('s-5', { linkExisting: ['bernoulli'] }).attempt('bernoulli'))
    assert.ok(await account('s-5').attempt('bernoulli'))
    assert.equal(await account('s-6', { linkExisting: true }).attempt('bernoulli'), null)
  })
})
