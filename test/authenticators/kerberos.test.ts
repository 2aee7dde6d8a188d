import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import type { Authenticator } from 'portico/authenticator'
import { kerberos } from '../../authenticators/kerberos.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
  settledVerdict,
} from '../contracts/authenticator.ts'
import { type Kdc, noKdc, startKdc } from '../support/kdc.ts'
import { startTestHub } from '../support/start-hub.ts'

const skip = noKdc || (existsSync('/usr/bin/curl') ? false : 'needs curl')

/** Runs curl as somebody with a ticket. */
async function curl(env: Record<string, string>, ...args: readonly string[]): Promise<string> {
  const all = ['-sS', '--max-time', '60', '--negotiate', '-u', ':', ...args]
  const { stdout } = await promisify(execFile)('curl', all, { env })
  return stdout
}

/** The header that a browser would send. */
async function ticket(t: TestContext, kdc: Kdc, principal: string): Promise<string> {
  const seen: string[] = []
  const server = createServer((request, response) => {
    if (request.headers.authorization) seen.push(request.headers.authorization)
    response.writeHead(seen.length > 0 ? 200 : 401, { 'WWW-Authenticate': 'Negotiate' }).end()
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await curl(kdc.ticketOf(principal), `http://localhost:${port}/`)
  assert.match(seen[0] ?? '', /^Negotiate /)
  return seen[0] ?? ''
}

async function ask(
  authenticator: Authenticator,
  authorization?: string,
  origin = 'https://hub.test',
) {
  const route = authenticator.routes?.find(({ path }) => path === '/kerberos_login')
  assert.ok(route)
  const headers = authorization === undefined ? {} : { authorization }
  const answer = await route.handle(
    new Request(`${origin}/hub/kerberos_login?next=%2Fx`, { headers }),
    { ...loginRequest(), userName: null, admin: false },
  )
  assert.ok(!(answer instanceof Response))
  return answer
}

async function judge(authenticator: Authenticator, authorization: string): Promise<string> {
  const answer = await ask(authenticator, authorization)
  assert.equal(answer.kind, 'login')
  const verdict = await settledVerdict(answer)
  return verdict.kind === 'identified' ? `+${verdict.identity.userName}` : verdict.reason
}

describe('kerberos', { skip }, () => {
  authenticatorContract('kerberos', async (t) => {
    const { keytab, krb5Config } = await startKdc(t)
    return { driver: kerberos, options: { keytab, krb5Config, allowedRealms: ['TEST.LOCAL'] } }
  })

  it('takes a ticket of its realm once, and proves itself', async (t) => {
    const kdc = await startKdc(t, 'zoe', 'zoe/admin')
    const { keytab, krb5Config } = kdc
    const make = async (...allowedRealms: string[]) =>
      (await createAuthenticator(t, kerberos, { keytab, krb5Config, allowedRealms })).authenticator
    const authenticator = await make('TEST.LOCAL')
    const given = await ticket(t, kdc, 'zoe')
    const answer = await ask(authenticator, given)
    assert.equal(answer.kind, 'login')
    assert.deepEqual(answer.verdict, { kind: 'identified', identity: { userName: 'zoe' } })
    assert.equal(answer.next, '/x')
    assert.match(answer.headers?.['WWW-Authenticate'] ?? '', /^Negotiate [\w+/]+=*$/)
    assert.match(await judge(authenticator, given), /replay/)
    assert.match(
      await judge(authenticator, await ticket(t, kdc, 'zoe/admin')),
      /not a person's principal/,
    )
    const other = await make('OTHER.LOCAL')
    assert.match(await judge(other, await ticket(t, kdc, 'zoe')), /not in allowedRealms/)
    const second = await make('OTHER.LOCAL', 'TEST.LOCAL')
    assert.equal(await judge(second, await ticket(t, kdc, 'zoe')), '+zoe@TEST.LOCAL')
  })

  it('asks for a ticket, and takes nothing that is none', async (t) => {
    const { keytab, krb5Config } = await startKdc(t)
    const options = { keytab, krb5Config, allowedRealms: ['TEST.LOCAL'] }
    const { authenticator } = await createAuthenticator(t, kerberos, options)
    const ntlm = Buffer.from('NTLMSSP\0\x01\0\0\0').toString('base64')
    for (const given of [
      undefined,
      'Basic eDp5',
      'Negotiate',
      'Negotiate !',
      `Negotiate ${ntlm}`,
    ]) {
      const answer = await ask(authenticator, given)
      assert.equal(answer.kind, 'page', given)
      assert.deepEqual(
        [answer.status, answer.headers],
        [401, { 'WWW-Authenticate': 'Negotiate' }],
        given,
      )
    }
    for (const bytes of [[0x60], [0x60, 0x84, 0xff, 0xff, 0xff, 0xff], Buffer.alloc(40_000, 0x60)])
      assert.match(
        await judge(authenticator, `Negotiate ${Buffer.from(bytes).toString('base64')}`),
        /^refused: /,
      )
    const plain = await ask(authenticator, undefined, 'http://hub.test')
    assert.ok(plain.kind === 'page' && plain.status === 403 && plain.headers === undefined)
  })

  it('starts only with a keytab and realms', async (t) => {
    const options = { keytab: '/no/such/keytab', allowedRealms: ['TEST.LOCAL'] }
    await assert.rejects(
      createAuthenticator(t, kerberos, options),
      /no\/such\/keytab cannot be read/,
    )
    for (const allowedRealms of [undefined, [], ['a@b'], ['']])
      assert.equal(kerberos.config.safeParse({ ...options, allowedRealms }).success, false)
  })

  it('logs a browser with a ticket in', async (t) => {
    const kdc = await startKdc(t, 'zoe')
    const { keytab, krb5Config } = kdc
    const authenticator = {
      driver: 'kerberos',
      keytab,
      krb5Config,
      allowedRealms: ['TEST.LOCAL'],
      allowedUsers: ['zoe'],
    }
    await using test = await startTestHub({ config: { authenticator } })
    const url = `${test.origin.replace('127.0.0.1', 'localhost')}/hub/kerberos_login?next=/hub/home`
    const env = kdc.ticketOf('zoe')
    const headers = await curl(env, '-i', '-L', '-b', '', url)
    assert.match(headers, /302 Found/)
    assert.match(headers, /location: \/hub\/home/i)
    assert.match(headers, /data-user="zoe"/)
  })
})
