import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { openDatabase } from '../../../hub/store/database.ts'
import { fernet } from '../../../hub/store/fernet.ts'
import { passwordStore } from '../../../hub/store/native-passwords.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'
import { temporaryFolder } from '../../support/folder.ts'

async function stores(t: TestContext) {
  const database = await openDatabase(join(temporaryFolder(t), 'portico.sqlite'))
  t.after(() => database[Symbol.asyncDispose]())
  await roleStore(database).define(defaultRoles)
  let now = 1_000
  const clock = () => new Date((now += 1_000))
  const keys = [randomBytes(32)]
  const users = userStore(database)
  const withKeys = (cipherKeys: readonly Buffer[]) =>
    passwordStore(database, { cipher: fernet(cipherKeys), clock, users })
  return { database, users, passwords: withKeys(keys), withKeys, clock }
}

const entry = { passwordHash: 'x', approved: false } as const

describe('the store of passwords', () => {
  it('has one entry a user, under any spelling of the name', async (t) => {
    const { passwords } = await stores(t)
    assert.equal(await passwords.add('Zoe', entry), true)
    assert.equal(await passwords.add('zOE', { ...entry, passwordHash: 'y' }), false)
    assert.equal((await passwords.find('ZOE'))?.passwordHash, 'x')
    for (const change of [
      passwords.approve('bob'),
      passwords.setPassword('bob', 'x'),
      passwords.remove('bob'),
      passwords.takeTotpStep('bob', 1),
    ])
      assert.equal(await change, false)
  })

  it('approves by itself only whom nobody knew, and says who was known', async (t) => {
    const { passwords, users, clock } = await stores(t)
    await users.create('ada', { admin: true, now: clock() })
    await passwords.add('ada', { ...entry, approved: 'if-new' })
    await passwords.add('zoe', { ...entry, approved: 'if-new' })
    const [ada, zoe] = [await passwords.find('ada'), await passwords.find('zoe')]
    assert.deepEqual([ada?.approved, ada?.userExisted], [false, true])
    assert.deepEqual([zoe?.approved, zoe?.userExisted], [true, false])
    assert.deepEqual(
      (await passwords.pending(5)).map(({ userName }) => userName),
      ['ada'],
    )
  })

  it('takes the user along that came with an entry, and no other', async (t) => {
    const { passwords, users, clock } = await stores(t)
    await users.create('old', { admin: false, now: clock() })
    for (const name of ['old', 'new', 'busy']) await passwords.add(name, entry)
    const busy = await users.findByName('busy')
    await users.recordActivity(new Map([[busy?.id ?? 0, clock()]]))
    for (const name of ['old', 'new', 'busy']) assert.equal(await passwords.remove(name), true)
    assert.equal(await passwords.countPending(), 0)
    assert.ok(await users.findByName('old'))
    assert.ok(await users.findByName('busy'))
    assert.equal(await users.findByName('new'), null)
  })

  it('follows a user who is renamed, and goes with one who is deleted', async (t) => {
    const { passwords, users } = await stores(t)
    await passwords.add('zoe', entry)
    const zoe = await users.findByName('zoe')
    assert.ok(zoe)
    await users.edit(zoe.id, { name: 'zoey' })
    assert.equal((await passwords.find('zoey'))?.passwordHash, 'x')
    await users.delete(zoe.id)
    assert.equal(await passwords.find('zoey'), null)
  })

  it('keeps second factors encrypted, and fails rather than forget one', async (t) => {
    const { passwords, withKeys, database } = await stores(t)
    const secret = randomBytes(20)
    await passwords.add('zoe', entry)
    await passwords.setTotpSecret('zoe', secret)
    assert.deepEqual((await passwords.find('zoe'))?.totpSecret, secret)
    const row = await database.db.selectFrom('native_passwords').selectAll().executeTakeFirst()
    assert.ok(!row?.encrypted_totp_secret?.includes(secret))
    for (const keys of [[], [randomBytes(32)]]) {
      const other = withKeys(keys)
      await assert.rejects(other.find('zoe'), /JUPYTERHUB_CRYPT_KEY/)
      assert.equal(other.keepsSecrets, keys.length > 0)
    }
    await assert.rejects(withKeys([]).setTotpSecret('zoe', secret), /JUPYTERHUB_CRYPT_KEY/)
  })

  it('takes each step of a second factor once, in order, also at once', async (t) => {
    const { passwords } = await stores(t)
    await passwords.add('zoe', entry)
    const taken = await Promise.all([7, 7, 7].map((step) => passwords.takeTotpStep('zoe', step)))
    assert.equal(taken.filter(Boolean).length, 1)
    assert.equal(await passwords.takeTotpStep('zoe', 6), false)
    assert.equal(await passwords.takeTotpStep('zoe', 8), true)
  })
})
