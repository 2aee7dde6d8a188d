import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { packageRoot } from '../../packages/process/index.ts'
import { Browser } from '../support/browser.ts'
import { startExample } from '../support/examples.ts'
import { noAccounts, PamFixture } from '../support/pam.ts'

const fixture = new PamFixture(`ptex${process.pid % 10_000}`)
const password = 'Correct-Horse-7'
let service = ''
let ada = ''

before(() => {
  if (noAccounts) return
  const lines = readFileSync(join(packageRoot(), 'examples/pam/portico'), 'utf8')
  service = fixture.service('', lines)
  ada = fixture.account('ada', password, 'users')
})
after(() => fixture[Symbol.dispose]())

describe('examples/pam', { skip: noAccounts }, () => {
  it('starts, and lets a member of the group in, by its service file', async (t) => {
    const { url } = await startExample(t, 'pam', `--set=authenticator.service=${service}`)
    const browser = new Browser(url)
    await browser.logIn('/', ada, password, '/hub/home')
    assert.equal((await browser.get('/hub/home')).status, 200)
    const stranger = new Browser(url)
    await stranger.get('/hub/login')
    const refused = await stranger.post('/hub/login', { username: ada, password: 'wrong' })
    assert.equal(refused.status, 403)
    assert.match(refused.text, /Invalid username or password/)
  })
})
