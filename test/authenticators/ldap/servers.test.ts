import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HubError } from 'portico/errors'
import { testAuthority } from '../../support/certificates.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { directory, nameOf, search, template } from '../../support/ldap-logins.ts'
import { searcher, secret, slapdMissing, startSlapd } from '../../support/slapd.ts'
import { startRelay } from '../../support/tcp-relay.ts'

const isUnavailable = (error: unknown): boolean =>
  error instanceof HubError && error.code === 'unavailable'

describe('ldap on its way to the servers', { skip: slapdMissing }, () => {
  it('tells nobody a password who cannot prove to be the server', async (t) => {
    const slapd = await startSlapd(t)
    const stranger = testAuthority(temporaryFolder(t), 'stranger')
    const secure = { tlsStrategy: 'on_connect', serverAddress: slapd.secureAddress }
    const securePort = Number(slapd.secureAddress.split(':')[1])
    // Its certificate is for 127.0.0.1 and localhost.
    const elsewhere = await startRelay(t, slapd.port, { host: '127.0.0.2' })
    const secureElsewhere = await startRelay(t, securePort, { host: '127.0.0.2' })
    for (const options of [
      { tlsCaFile: stranger.ca },
      { tlsCaFile: stranger.ca, ...secure },
      { serverAddress: `127.0.0.2:${elsewhere.port}` },
      { serverAddress: `127.0.0.2:${secureElsewhere.port}`, tlsStrategy: 'on_connect' },
    ]) {
      const { logIn } = await directory(slapd, { ...template, ...options })
      await assert.rejects(logIn('ada'), isUnavailable)
    }
    const trusting = { serverAddress: `127.0.0.2:${elsewhere.port}`, validateServerCert: false }
    const { logIn } = await directory(slapd, { ...template, ...trusting })
    assert.equal(nameOf(await logIn('ada')), 'ada')
  })

  it('sends no password in clear when the server dies between two logins or within one', async (t) => {
    const slapd = await startSlapd(t)
    const relay = await startRelay(t, slapd.port)
    const options = { ...search, serverAddress: `127.0.0.1:${relay.port}`, connectTimeout: 2 }
    const { logIn } = await directory(slapd, options)
    assert.equal(nameOf(await logIn('ada')), 'ada')
    await slapd.kill()
    await assert.rejects(logIn('ada'), isUnavailable)
    await assert.rejects(logIn('ada'), isUnavailable)
    await slapd.start()
    assert.equal(nameOf(await logIn('ada')), 'ada')
    for (let round = 0; round < 20; round += 1) {
      const cut = setTimeout(() => relay.cut(), round * 2)
      await logIn('ada').catch(() => null)
      clearTimeout(cut)
    }
    const wire = relay.sent()
    assert.ok(wire.length > 1000 && relay.connections() >= 10)
    for (const password of [secret, searcher.password])
      assert.equal(wire.includes(password), false, 'a password went over the wire in clear')
    assert.equal(wire.includes('uid=ada'), false)
  })

  it('believes nothing that was said before TLS began', async (t) => {
    const slapd = await startSlapd(t)
    // Whoever sits in between appends the beginning of a message, to be completed by encrypted bytes.
    const injected = Buffer.from([0x30, 0x20, 0x02, 0x01, 0x02, 0x61, 0x1b, 0x0a, 0x01, 0x00])
    const relay = await startRelay(t, slapd.port, {
      rewrite: (bytes) => (bytes[0] === 0x30 ? Buffer.concat([bytes, injected]) : bytes),
    })
    const { logIn } = await directory(slapd, {
      ...template,
      serverAddress: `127.0.0.1:${relay.port}`,
    })
    await assert.rejects(logIn('ada', 'wrong'), isUnavailable)
    const refusing = await startRelay(t, slapd.port, {
      rewrite: (bytes) =>
        bytes[0] === 0x30
          ? Buffer.from([0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, 52, 4, 0, 4, 0])
          : bytes,
    })
    const other = await directory(slapd, {
      ...template,
      serverAddress: `127.0.0.1:${refusing.port}`,
    })
    await assert.rejects(other.logIn('ada'), isUnavailable)
    assert.equal(refusing.sent().includes(secret), false)
  })

  it('asks the next server when one is down, silent or dies half-way', async (t) => {
    const slapd = await startSlapd(t)
    const silent = await startRelay(t, null)
    const dying = await startRelay(t, slapd.port, { rewrite: (bytes) => (dying.cut(), bytes) })
    const { logIn, lines } = await directory(slapd, {
      ...template,
      serverAddress: [
        '127.0.0.1:1',
        `127.0.0.1:${silent.port}`,
        `127.0.0.1:${dying.port}`,
        slapd.address,
      ],
      connectTimeout: 0.3,
    })
    assert.equal(nameOf(await logIn('ada')), 'ada')
    assert.equal(lines.length, 3, lines.join('\n'))
    assert.equal(nameOf(await logIn('ada', 'wrong')), null)
    assert.equal(lines.length, 3, 'a server that has just failed is asked last')
    assert.equal(silent.connections(), 1)
  })

  it('gives up in time when a server stops answering, and when the browser has gone', async (t) => {
    const slapd = await startSlapd(t)
    let isMute = false
    const mute = await startRelay(t, slapd.port, {
      rewrite: (bytes) => (isMute && bytes[0] === 0x17 ? Buffer.alloc(0) : bytes),
    })
    const { logIn } = await directory(slapd, {
      ...search,
      serverAddress: `127.0.0.1:${mute.port}`,
      operationTimeout: 0.5,
    })
    assert.equal(nameOf(await logIn('ada')), 'ada')
    isMute = true
    await assert.rejects(logIn('ada'), isUnavailable)
    const silent = await startRelay(t, null)
    const patient = await directory(slapd, {
      ...template,
      serverAddress: `127.0.0.1:${silent.port}`,
      connectTimeout: 25,
    })
    const begun = performance.now()
    await assert.rejects(patient.logIn('ada', secret, AbortSignal.timeout(200)))
    assert.ok(performance.now() - begun < 20_000)
  })
})
