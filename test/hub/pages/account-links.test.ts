import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ConfigInput } from '../../../hub/config.ts'
import { Browser } from '../../support/browser.ts'
import { startTestHub } from '../../support/start-hub.ts'

const password = 'correct horse'
const native = { scryptCost: 12, openSignup: true }

/** The links of the login page, and of the home page of whoever signs up as `name`. */
async function linksOf(
  authenticator: NonNullable<ConfigInput['authenticator']>,
  {
    name,
    userName,
    folder,
  }: { readonly name: string; readonly userName: string; readonly folder: string },
) {
  await using test = await startTestHub({ baseUrl: '/jhub/', config: { authenticator } })
  const browser = new Browser(test.origin)
  const at = (path: string): string => `/jhub/hub${folder}${path}`
  const login = await browser.get(at('/login'))
  await browser.get(at('/signup'))
  await browser.post(at('/signup'), { username: name, password, repeated: password })
  const links = async () => {
    await browser.get(at('/login'))
    const entered = await browser.post(at('/login'), { username: name, password })
    assert.equal(entered.status, 302)
    const { text } = await browser.visit('/jhub/hub/home')
    return [...text.matchAll(/href="([^"]+)">(Change your password|Sign-ups)</g)].map(
      ([, url, label]) => `${label} ${url}`,
    )
  }
  const own = await links()
  await test.operator.updateUser(userName, { admin: true })
  return { signUp: /href="([^"]+)">Sign up</.exec(login.text)?.[1], own, asAdmin: await links() }
}

describe('pages of the authenticator', () => {
  it('are found from the login page and the home page', async () => {
    const authenticator = { driver: 'native', allowAll: true, ...native }
    const { signUp, own, asAdmin } = await linksOf(authenticator, {
      name: 'zoe',
      userName: 'zoe',
      folder: '',
    })
    assert.equal(signUp, '/jhub/hub/signup')
    assert.deepEqual(own, ['Change your password /jhub/hub/change-password'])
    assert.deepEqual(asAdmin, [...own, 'Sign-ups /jhub/hub/signups'])
  })

  it('are found below their name, and those of others are not', async () => {
    const providers = [
      { driver: 'native', name: 'local', ...native },
      { driver: 'native', name: 'other', ...native },
    ]
    const authenticator = { driver: 'multi', allowAll: true, providers }
    const { signUp, own, asAdmin } = await linksOf(authenticator, {
      name: 'zoe',
      userName: 'local:zoe',
      folder: '/local',
    })
    assert.equal(signUp, '/jhub/hub/local/signup')
    assert.deepEqual(own, ['Change your password /jhub/hub/local/change-password'])
    const others = ['local', 'other'].map((name) => `Sign-ups /jhub/hub/${name}/signups`)
    assert.deepEqual(asAdmin, [...own, ...others])
  })
})
