import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { oauthStore } from '../../../hub/store/oauth.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serverStore } from '../../../hub/store/servers.ts'
import { tokenStore } from '../../../hub/store/tokens.ts'
import { userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'

const folder = mkdtempSync(join(tmpdir(), 'portico-tokens-'))
const now = new Date('2026-11-22T12:00:00Z')
let database: Database

before(async () => {
  database = await openDatabase(join(folder, 'tokens.sqlite'))
  await roleStore(database).define(defaultRoles)
})
after(async () => {
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

it('tokens that end with a server are named by their owners, and nobody else', async () => {
  const [users, tokens, oauth] = [userStore(database), tokenStore(database), oauthStore(database)]
  const made = await users.createAll(['owner', 'guest', 'other'], { admin: false, now })
  const [owner = 0, guest = 0, other = 0] = made.map(({ id }) => id)
  const start = { userId: owner, name: '', displayName: null, spawner: 'simple', userOptions: null }
  const servers = serverStore(database)
  const server = await servers.beginStart({ ...start, now, deadline: now })
  const client = {
    identifier: 'jupyterhub-user-owner',
    description: 'Server at /user/owner/',
    secret: 'a-secret-of-the-server',
    redirectUri: '/user/owner/oauth_callback',
    allowedScopes: [],
    requirePkce: false,
    serverId: server.id,
  }
  assert.deepEqual(await oauth.registerClient(client), [])
  const clientId = (await oauth.findClient(client.identifier))?.id ?? null
  const plain = { scopes: [], note: '', expiresAt: null }
  await tokens.issue({ ...plain, userId: owner, serverId: server.id }, now)
  await tokens.issue({ ...plain, userId: guest, clientId }, now)
  await tokens.issue({ ...plain, userId: guest, clientId }, now)
  const kept = await tokens.issue({ ...plain, userId: other }, now)
  const lost = await servers.finish(server.id, server.generation, null, now)
  assert.deepEqual(
    [...lost].toSorted((one, two) => one - two),
    [owner, guest],
  )
  assert.deepEqual(await tokens.ofUser(guest, now), [])
  assert.ok(await tokens.find(kept.secret, now))
  assert.deepEqual(await servers.finish(server.id, server.generation - 1, null, now), [])
})
