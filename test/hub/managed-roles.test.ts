import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ManagedRole } from 'portico/authenticator'
import { loadConfig } from '../../hub/config.ts'
import { drivers } from '../support/drivers.ts'
import { type Directory, directoryDriver } from '../support/directory.ts'
import { Browser } from '../support/browser.ts'
import { startTestHub, type TestHub } from '../support/start-hub.ts'

const people: Directory = new Map()

/** The directory, which also knows all roles. */
function rolesDriver(roles: () => readonly ManagedRole[]) {
  const directory = directoryDriver(people)
  return {
    ...directory,
    create: async (...given: Parameters<typeof directory.create>) => ({
      ...(await directory.create(...given)),
      loadManagedRoles: async () => roles(),
    }),
  }
}

const rolesOf = async (test: TestHub, name: string) => (await test.operator.user(name)).roles ?? []

describe('roles that the authenticator manages', { timeout: 240_000 }, () => {
  it('are loaded at each start; a reset leaves nothing else of it', async () => {
    let known: readonly ManagedRole[] = [
      { name: 'reader', scopes: ['read:metrics'], users: ['Ada'], groups: ['staff'] },
      { name: 'admin', users: ['grace'] },
    ]
    const roles = [{ name: 'helper', scopes: ['list:users'] }]
    people.set('bob', { allowedBy: 'the directory', roles })
    const driver = rolesDriver(() => known)
    let test = await startTestHub({
      config: {
        hub: { loadRoles: [{ name: 'own', scopes: ['read:hub'], users: ['ada'] }] },
        authenticator: { driver, manageRoles: true },
      },
    })
    try {
      await new Browser(test.origin).logIn('/', 'bob')
      assert.deepEqual(await rolesOf(test, 'ada'), ['own', 'reader', 'user'])
      assert.deepEqual(await rolesOf(test, 'grace'), ['admin', 'user'])
      assert.deepEqual(await rolesOf(test, 'bob'), ['helper', 'user'])
      const { roles: ofGroup } = await test.operator.group('staff')
      assert.deepEqual(ofGroup, ['reader'])

      known = [{ name: 'reader', scopes: ['read:hub'], users: ['grace'] }]
      test = await test.restart()
      assert.deepEqual(await rolesOf(test, 'ada'), ['own', 'reader', 'user'])
      assert.deepEqual(await rolesOf(test, 'bob'), ['helper', 'user'])
      assert.deepEqual(await rolesOf(test, 'grace'), ['admin', 'reader', 'user'])

      test = await test.restart({ resetManagedRolesOnStartup: true })
      assert.deepEqual(await rolesOf(test, 'ada'), ['own', 'user'])
      assert.deepEqual(await rolesOf(test, 'bob'), ['user'])
      assert.deepEqual(await rolesOf(test, 'grace'), ['admin', 'reader', 'user'])
      assert.deepEqual((await test.operator.group('staff')).roles, [])
    } finally {
      await test[Symbol.asyncDispose]()
    }
  })

  it('are not reset where nothing could take their place', async () => {
    const authenticator = { driver: directoryDriver(people), resetManagedRolesOnStartup: true }
    await assert.rejects(
      startTestHub({ config: { authenticator: { ...authenticator, manageRoles: true } } }),
      /'directory' cannot say which roles there are/,
    )
    const broken = rolesDriver(() => {
      throw new Error('no answer')
    })
    await assert.rejects(
      startTestHub({
        config: { authenticator: { ...authenticator, manageRoles: true, driver: broken } },
      }),
      /no answer/,
    )
    const loaded = await loadConfig({ authenticator }, drivers, { source: '', folder: '/' })
    assert.ok('problems' in loaded)
    assert.match(JSON.stringify(loaded.problems), /resetManagedRolesOnStartup.*manageRoles/)
    const other = { driver: broken, manageRoles: true }
    await using test = await startTestHub({ config: { authenticator: other } })
    assert.ok(test.logLines.some((line) => line.includes('roles of the authenticator')))
  })
})
