import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Browser } from '../support/browser.ts'
import { startExample } from '../support/examples.ts'
import { secret, slapdMissing, startSlapd } from '../support/slapd.ts'

describe('examples/ldap', { skip: slapdMissing }, () => {
  it('starts, and lets a member of the group in, by the directory', async (t) => {
    const slapd = await startSlapd(t)
    const { url } = await startExample(
      t,
      'ldap',
      `--set=authenticator.serverAddress=${slapd.address}`,
      `--set=authenticator.tlsCaFile=${slapd.ca}`,
      '--set=spawner.driver=simple',
      '--set=spawner.allowRoot=true',
    )
    const browser = new Browser(url)
    await browser.logIn('/', 'ada', secret, '/hub/home')
    assert.equal((await browser.get('/hub/home')).status, 200)
    for (const [name, password] of [
      ['ada', 'wrong'],
      ['grace', secret],
    ] as const) {
      const stranger = new Browser(url)
      await stranger.get('/hub/login')
      const refused = await stranger.post('/hub/login', { username: name, password })
      assert.equal(refused.status, 403, name)
      assert.match(refused.text, /Invalid username or password/)
    }
    await slapd.kill()
    const late = new Browser(url)
    await late.get('/hub/login')
    const answer = await late.post('/hub/login', { username: 'ada', password: secret })
    assert.equal(answer.status, 503)
    assert.match(answer.text, /does not answer/)
  })
})
