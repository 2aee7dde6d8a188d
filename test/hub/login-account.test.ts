import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Browser } from '../support/browser.ts'
import { startTestHub } from '../support/start-hub.ts'

it('the local spawner lets nobody in who has no account on this machine', async () => {
  await using test = await startTestHub({
    config: { spawner: { driver: 'local', allowRoot: undefined } },
  })
  const browser = new Browser(test.origin)
  await browser.get('/hub/login')
  const page = await browser.post('/hub/login', { username: 'no-such-account', password: 'x' })
  assert.equal(page.status, 403)
  assert.match(page.text, /Invalid username or password/)
  assert.ok(test.logLines.some((line) => /no account named/.test(line)))
})
