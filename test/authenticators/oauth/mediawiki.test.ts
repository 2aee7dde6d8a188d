import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { SignJWT } from 'jose'
import {
  answering,
  type Asked,
  clientId,
  clientSecret,
  type FakeProvider,
  startFakeProvider,
} from '../../support/fake-provider.ts'
import { driverOf } from '../../support/preset-login.ts'
import { strategyLogin } from '../../support/strategy-login.ts'

const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )

/** What is in the header, when it is signed with these secrets (RFC 5849 section 3.4). */
function verified({ method, url, headers }: Asked, tokenSecret: string): Record<string, string> {
  const given = [...(headers.authorization ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(
    ([, name = '', value = '']) => [name, decodeURIComponent(value)] as const,
  )
  const { oauth_signature, ...signed } = Object.fromEntries(given)
  const pairs = [...Object.entries(signed), ...url.searchParams].map(([name, value]) => [
    encode(name),
    encode(value),
  ])
  const sorted = pairs.map((pair) => pair.join('=')).sort()
  const base = [method, url.origin + url.pathname, sorted.join('&')].map(encode).join('&')
  const key = `${encode(clientSecret)}&${encode(tokenSecret)}`
  assert.equal(oauth_signature, createHmac('sha1', key).update(base).digest('base64'))
  assert.equal(signed['oauth_consumer_key'], clientId)
  return signed
}

/** A wiki with OAuth 1.0a; `says` changes what it states about somebody. */
async function wiki(t: TestContext, says: (claims: object) => object = (claims) => claims) {
  const provider: FakeProvider = await startFakeProvider(t)
  let key = new TextEncoder().encode(clientSecret)
  let alg = 'HS256'
  provider.routes.set('/w/index.php', async (asked) => {
    switch (asked.url.searchParams.get('title') ?? '') {
      case 'Special:OAuth/initiate': {
        const { oauth_callback } = verified(asked, '')
        assert.equal(oauth_callback, 'https://hub.test/hub/oauth_callback')
        return answering({
          body: 'oauth_token=r1&oauth_token_secret=rs&oauth_callback_confirmed=true',
        })
      }
      case 'Special:OAuth/authenticate': {
        const token = asked.url.searchParams.get('oauth_token') ?? ''
        const back = `https://hub.test/hub/oauth_callback?oauth_verifier=v1&oauth_token=${token}`
        return answering({ status: 302, headers: { Location: back } })
      }
      case 'Special:OAuth/token': {
        const { oauth_verifier, oauth_token } = verified(asked, 'rs')
        assert.deepEqual([oauth_verifier, oauth_token], ['v1', 'r1'])
        return answering({ body: 'oauth_token=a1&oauth_token_secret=as' })
      }
      default: {
        const { oauth_nonce } = verified(asked, 'as')
        const now = Math.floor(Date.now() / 1000)
        const claims = {
          iss: provider.issuer,
          aud: clientId,
          sub: 7,
          iat: now,
          exp: now + 100,
          nonce: oauth_nonce,
          username: 'Ada Lovelace',
        }
        const token = new SignJWT({ ...says(claims) }).setProtectedHeader({ alg })
        return answering({ body: await token.sign(key) })
      }
    }
  })
  const options = { mwIndexUrl: `${provider.issuer}/w/index.php` }
  const login = await strategyLogin(driverOf('mediawiki'), options)
  return {
    login,
    forge(secret: string, algorithm = 'HS256') {
      key = new TextEncoder().encode(secret)
      alg = algorithm
    },
  }
}

describe('mediawiki', () => {
  it('logs in by OAuth 1.0a, and knows people by their number: case makes other names', async (t) => {
    const { login } = await wiki(t)
    const outcome = await login.logIn()
    assert.ok(outcome.kind === 'identified', JSON.stringify(outcome))
    const { userName, subject } = outcome.identity
    assert.deepEqual([userName, subject], ['Ada_Lovelace', '7'])
    const other = await (
      await wiki(t, (claims) => ({ ...claims, username: 'Ada lovelace', sub: 8 }))
    ).login.logIn()
    assert.ok(other.kind === 'identified')
    assert.equal(other.identity.subject, '8')
  })

  it('believes only what was signed for this request, and lets in nobody who is blocked', async (t) => {
    for (const lie of [
      { nonce: 'of another request' },
      { iss: 'https://evil.test' },
      { sub: undefined },
      { username: '' },
      { blocked: true },
    ]) {
      const { login } = await wiki(t, (claims) => ({ ...claims, ...lie }))
      assert.equal((await login.logIn()).kind, 'denied', JSON.stringify(lie))
    }
    for (const lie of [{ aud: 'another' }, { exp: 1 }]) {
      const { login } = await wiki(t, (claims) => ({ ...claims, ...lie }))
      await assert.rejects(login.logIn(), { code: 'unavailable' }, JSON.stringify(lie))
    }
    for (const [secret, algorithm] of [
      ['another secret of somebody', 'HS256'],
      [`${clientSecret}${'x'.repeat(64)}`, 'HS512'],
    ] as const) {
      const at = await wiki(t)
      at.forge(secret, algorithm)
      await assert.rejects(at.login.logIn(), { code: 'unavailable' })
    }
  })

  it('finishes only the attempt that it began', async (t) => {
    const { login } = await wiki(t)
    const { session } = await login.start()
    const back = (query: string) => new URL(`https://hub.test/hub/oauth_callback?${query}`)
    for (const query of ['', 'oauth_token=r1', 'oauth_token=r2&oauth_verifier=v1', 'denied=r1'])
      await assert.rejects(login.comeBack(back(query), session), { code: 'invalid_request' }, query)
  })
})
