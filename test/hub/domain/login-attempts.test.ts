import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { createLoginAttempts } from '../../../hub/domain/login-attempts.ts'
import { openDatabase } from '../../../hub/store/database.ts'
import { loginAttemptStore } from '../../../hub/store/login-attempts.ts'
import { temporaryFolder } from '../../support/folder.ts'

const attempt = { provider: '', data: { oauth: { nonce: 'n' } }, next: '/hub/home' }

async function attempts(t: TestContext) {
  const database = await openDatabase(join(temporaryFolder(t), 'portico.sqlite'))
  t.after(() => database[Symbol.asyncDispose]())
  const store = loginAttemptStore(database)
  let now = new Date()
  const domain = createLoginAttempts({ store, clock: () => now })
  const count = async () =>
    (await database.db.selectFrom('login_attempts').select('id').execute()).length
  return {
    ...domain,
    store,
    count,
    stored: () => database.db.selectFrom('login_attempts').selectAll().execute(),
    wait: (ms: number) => void (now = new Date(now.getTime() + ms)),
    now: () => now,
  }
}

describe('login attempts', () => {
  it('come back once, in the browser that began them, by their own key', async (t) => {
    const { newBrowser, begin, finish, stored } = await attempts(t)
    const [ours, theirs] = [newBrowser(), newBrowser()]
    await begin(ours, 'one', attempt)
    await begin(ours, 'two', { ...attempt, next: null })
    assert.equal(await finish(theirs, 'one'), null)
    assert.equal(await finish(ours, 'three'), null)
    assert.equal((await finish(ours, 'two'))?.next, null)
    assert.deepEqual(await finish(ours, 'one'), attempt)
    assert.equal(await finish(ours, 'one'), null)
    await begin(ours, 'four', attempt)
    assert.ok(!JSON.stringify(await stored()).includes(ours), 'the secret is stored as a hash')
  })

  it('are given to one of many at once', async (t) => {
    const { newBrowser, begin, finish } = await attempts(t)
    const browser = newBrowser()
    await begin(browser, 'key', attempt)
    const found = await Promise.all(Array.from({ length: 8 }, () => finish(browser, 'key')))
    assert.equal(found.filter((each) => each !== null).length, 1)
  })

  it('are worthless after ten minutes, and then forgotten', async (t) => {
    const { newBrowser, begin, finish, wait, now, store, count } = await attempts(t)
    const browser = newBrowser()
    await begin(browser, 'early', attempt)
    wait(5 * 60_000)
    await begin(browser, 'late', attempt)
    wait(5 * 60_000)
    assert.equal(await finish(browser, 'early'), null)
    assert.deepEqual(await finish(browser, 'late'), attempt)
    await begin(browser, 'again', attempt)
    wait(11 * 60_000)
    await store.purgeExpired(now())
    assert.equal(await count(), 0)
  })

  it('know a browser that goes round in circles, and no other', async (t) => {
    const { newBrowser, recordSuccess, isLooping } = await attempts(t)
    const [looping, calm] = [newBrowser(), newBrowser()]
    for (let rounds = 0; rounds < 4; rounds += 1) recordSuccess(looping)
    assert.equal(isLooping(looping), false)
    recordSuccess(looping)
    assert.equal(isLooping(looping), true)
    assert.equal(isLooping(calm), false)
  })
})
