import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { loadRights, type ConfiguredRights } from '../../../hub/domain/roles.ts'
import { createLog } from '../../../hub/log.ts'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { groupStore } from '../../../hub/store/groups.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serviceStore } from '../../../hub/store/services.ts'
import { userStore } from '../../../hub/store/users.ts'

const folder = mkdtempSync(join(tmpdir(), 'portico-roles-'))
const now = new Date('2026-11-22T12:00:00Z')
let database: Database
let lines: string[] = []

before(async () => {
  database = await openDatabase(join(folder, 'roles.sqlite'))
})
after(async () => {
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

/** Starts as a hub with these roles does; what an earlier one has left is still there. */
async function load(config: Partial<ConfiguredRights>): Promise<void> {
  lines = []
  const services = await serviceStore(database).all()
  await loadRights(
    {
      users: userStore(database),
      groups: groupStore(database),
      roles: roleStore(database),
      services: new Map(services.map(({ id, name }) => [name, id])),
      log: createLog({ level: 'info', pretty: false, write: (line) => lines.push(line) }),
      clock: () => now,
    },
    {
      loadRoles: [],
      loadGroups: {},
      extraUserScopes: [],
      adminUsers: [],
      usernamePattern: null,
      ...config,
    },
  )
}

async function rolesOf(name: string): Promise<readonly string[]> {
  const user = await userStore(database).findByName(name)
  assert.ok(user, `${name} exists`)
  const grants = await roleStore(database).grantsOfUser(user.id, now)
  return grants.map(({ name: role, group }) => (group === null ? role : `${role} by ${group}`))
}

async function scopesOf(role: string): Promise<readonly string[] | null> {
  return roleStore(database).scopesOf(role)
}

describe('roles of the config', () => {
  it('make the users and groups that they name', async () => {
    await load({
      loadRoles: [{ name: 'reader', scopes: ['read:users'], users: ['Ada'], groups: ['staff'] }],
      loadGroups: { staff: { users: ['bob'], properties: { room: 3 } } },
    })
    assert.deepEqual(await rolesOf('ada'), ['reader', 'user'])
    assert.deepEqual(await rolesOf('bob'), ['reader by staff', 'user'])
    assert.deepEqual((await groupStore(database).findByName('staff'))?.properties, { room: 3 })
  })

  it('have the members that are listed, and lose those that are not any more', async () => {
    await load({ loadRoles: [{ name: 'reader', scopes: ['read:users'], users: ['bob'] }] })
    assert.deepEqual(await rolesOf('ada'), ['user'])
    assert.deepEqual(await rolesOf('bob'), ['reader', 'user'])
  })

  it('are gone with their entry, but the default ones stay', async () => {
    await load({})
    assert.equal(await scopesOf('reader'), null)
    assert.deepEqual(await rolesOf('bob'), ['user'])
    for (const name of ['user', 'admin', 'server', 'token']) assert.ok(await scopesOf(name), name)
  })

  it('change of a default role only what they give', async () => {
    await load({ loadRoles: [{ name: 'server', scopes: ['users:activity!user'] }] })
    assert.deepEqual(await scopesOf('server'), ['users:activity!user'])
    const server = (await roleStore(database).all()).find(({ name }) => name === 'server')
    assert.equal(server?.description, 'Post activity only')
    await load({})
    assert.deepEqual(await scopesOf('server'), ['users:activity!user', 'access:servers!server'])
  })

  it('give everybody extra scopes, but not where the role user is defined', async () => {
    await load({ extraUserScopes: ['shares!user'] })
    assert.deepEqual(await scopesOf('user'), ['self', 'shares!user'])
    await load({
      extraUserScopes: ['shares!user'],
      loadRoles: [{ name: 'user', scopes: ['self', 'list:services'] }],
    })
    assert.deepEqual(await scopesOf('user'), ['self', 'list:services'])
    assert.deepEqual(await rolesOf('ada'), ['user'])
  })

  it('mark the members of admin, and keep admins where none are listed', async () => {
    const users = userStore(database)
    await load({ adminUsers: ['root'], loadRoles: [{ name: 'admin', users: ['ada'] }] })
    assert.deepEqual(await rolesOf('root'), ['admin', 'user'])
    assert.equal((await users.findByName('ada'))?.admin, true)
    await load({ loadRoles: [{ name: 'admin', groups: [] }] })
    assert.equal((await users.findByName('root'))?.admin, true)
    await load({ loadRoles: [{ name: 'admin', users: ['root'] }] })
    assert.equal((await users.findByName('ada'))?.admin, false)
    assert.deepEqual(await rolesOf('ada'), ['user'])
  })

  it('warn when a role gains scopes', async () => {
    await load({ loadRoles: [{ name: 'reader', scopes: ['read:users'] }] })
    assert.ok(!lines.some((line) => line.includes('gained')))
    await load({ loadRoles: [{ name: 'reader', scopes: ['read:users', 'tokens'] }] })
    assert.match(lines.join('\n'), /the role reader has gained scopes: tokens/)
  })

  it('are refused for a service that is not there, naming both', async () => {
    const loading = load({
      loadRoles: [{ name: 'cull', scopes: ['delete:servers'], services: ['culler'] }],
    })
    await assert.rejects(loading, /role cull to a service that is not there: culler/)
  })
})
