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
    const at = await attempts(t)
    const [ours, theirs] = [at.newBrowser(), at.newBrowser()]
    await at.begin(ours, 'one', attempt)
    await at.begin(ours, 'two', { ...attempt, next: null })
    assert.equal(await at.finish(theirs, 'one'), null)
    assert.equal(await at.finish(ours, 'three'), null)
    assert.equal((await at.finish(ours, 'two'))?.next, null)
    assert.deepEqual(await at.finish(ours, 'one'), attempt)
    assert.equal(await at.finish(ours, 'one'), null)
    await at.begin(ours, 'four', attempt)
    assert.ok(!JSON.stringify(await at.stored()).includes(ours), 'the secret is stored as a hash')
  })

  it('are given to one of many at once', async (t) => {
    const at = await attempts(t)
    const browser = at.newBrowser()
    await at.begin(browser, 'key', attempt)
    const found = await Promise.all(Array.from({ length: 8 }, () => at.finish(browser, 'key')))
    assert.equal(found.filter((each) => each !== null).length, 1)
  })

  it('are worthless after ten minutes, and then forgotten', async (t) => {
    const at = await attempts(t)
    const browser = at.newBrowser()
    await at.begin(browser, 'early', attempt)
    at.wait(5 * 60_000)
    await at.begin(browser, 'late', attempt)
    at.wait(5 * 60_000)
    assert.equal(await at.finish(browser, 'early'), null)
    assert.deepEqual(await at.finish(browser, 'late'), attempt)
    await at.begin(browser, 'again', attempt)
    at.wait(11 * 60_000)
    await at.store.purgeExpired(at.now())
    assert.equal(await at.count(), 0)
  })

  it('know a browser that goes round in circles, and no other', async (t) => {
    const at = await attempts(t)
    const [looping, calm] = [at.newBrowser(), at.newBrowser()]
    for (let rounds = 0; rounds < 4; rounds += 1) at.recordSuccess(looping)
    assert.equal(at.isLooping(looping), false)
    at.recordSuccess(looping)
    assert.equal(at.isLooping(looping), true)
    assert.equal(at.isLooping(calm), false)
  })
})
