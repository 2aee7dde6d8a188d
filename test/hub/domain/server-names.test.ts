import assert from 'node:assert/strict'

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { renameInvalid, serverNames } from '../../../hub/domain/server-names.ts'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serverStore } from '../../../hub/store/servers.ts'
import { type User, userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'
import { safeSlug } from '../../../packages/core/slug.ts'

const now = new Date()
const log = { debug() {}, info() {}, warn() {}, error() {} }
const options = {
  allowNamedServers: true,
  namedServerLimitPerUser: 0,
  defaultServerName: '',
  allowExistingInvalidNamedServers: 'allow-start',
} as const

describe('servers with names of before JupyterHub 6', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-test-'))
  let database: Database
  let store: ReturnType<typeof serverStore>
  let ada: User

  before(async () => {
    database = await openDatabase(join(folder, 'test.sqlite'))
    await roleStore(database).define(defaultRoles)
    const made = await userStore(database).create('ada', { admin: false, now })
    assert.ok(made)
    ada = made
    store = serverStore(database)
    for (const [name, displayName] of [
      ['My Server', null],
      ['my-server', null],
      ['Shown', 'Shown as this'],
      ['RUNS', null],
      ['fine', null],
    ] as const)
      await store.create({ ...begin(name), displayName })
    await store.beginStart({ ...begin('RUNS'), deadline: now })
  })
  after(async () => {
    await database[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const begin = (name: string) => ({
    userId: ada.id,
    name,
    displayName: null,
    spawner: 'x',
    userOptions: null,
    now,
  })

  it('start unless the config says that they may only be deleted', async () => {
    const known = await store.find(ada.id, 'My Server')
    const server = { name: 'My Server', displayName: null, known }
    assert.equal(await serverNames(store, options).admit(ada, server), null)
    const strict = { ...options, allowExistingInvalidNamedServers: 'allow-delete' } as const
    await assert.rejects(serverNames(store, strict).admit(ada, server), {
      code: 'invalid_request',
      message: /Invalid server_name:/,
    })
  })

  it('get a safe name and show their old one, unless they run', async () => {
    await renameInvalid(store, log)
    const rows = await store.ofUser(ada.id)
    assert.deepEqual(
      rows.map(({ name, displayName }) => [name, displayName]),
      [
        ['RUNS', null],
        ['fine', null],
        ['my-server', null],
        [safeSlug('My Server'), 'My Server'],
        ['shown', 'Shown as this'],
      ],
    )
  })
})
