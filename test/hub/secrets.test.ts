import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { loadSecrets, type Secrets } from '../../hub/secrets.ts'
import { HubError } from '../../packages/core/errors.ts'

const hex = 'ab'.repeat(32)
const isRoot = process.geteuid?.() === 0

function dataDir(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'portico-secrets-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function load(folder: string, env: Record<string, string> = {}): Secrets {
  return loadSecrets({ dataDir: folder, env })
}

function refused(folder: string, message: RegExp, env: Record<string, string> = {}): void {
  assert.throws(
    () => load(folder, env),
    (error) => {
      assert.ok(error instanceof HubError)
      assert.match(error.message, message)
      assert.doesNotMatch(error.message, /abab/)
      return true
    },
  )
}

for (const [name, secretOf] of [
  ['jupyterhub_cookie_secret', (secrets: Secrets) => secrets.cookieSecret.toString('hex')],
  ['proxy_auth_token', (secrets: Secrets) => secrets.proxyToken],
] as const) {
  describe(name, () => {
    test('is made at the first start, private, and kept', (t) => {
      const folder = dataDir(t)
      const first = secretOf(load(folder))
      assert.match(first, /^[0-9a-f]{64}$/)
      assert.equal(readFileSync(join(folder, name), 'utf8'), `${first}\n`)
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
      assert.equal(secretOf(load(folder)), first)
      assert.deepEqual(readdirSync(folder).sort(), ['jupyterhub_cookie_secret', 'proxy_auth_token'])
    })

    test('is private whatever the umask', (t) => {
      const folder = dataDir(t)
      const before = process.umask(0)
      t.after(() => process.umask(before))
      load(folder)
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
    })

    test('is read from a file that an admin wrote', (t) => {
      const folder = dataDir(t)
      writeFileSync(join(folder, name), `${hex}\n`, { mode: 0o600 })
      assert.equal(secretOf(load(folder)), hex)
    })

    for (const mode of [0o640, 0o604, 0o660, 0o644, 0o610]) {
      test(`is refused with mode ${mode.toString(8)}`, (t) => {
        const folder = dataDir(t)
        writeFileSync(join(folder, name), hex)
        chmodSync(join(folder, name), mode)
        refused(folder, new RegExp(`${folder}/${name}: has mode 0${mode.toString(8)}.*chmod 600`))
      })
    }

    test('is refused as a symbolic link, also to nowhere', (t) => {
      const folder = dataDir(t)
      writeFileSync(join(folder, 'elsewhere'), hex, { mode: 0o600 })
      symlinkSync(join(folder, 'elsewhere'), join(folder, name))
      refused(folder, new RegExp(`${name}: is a symbolic link`))
      rmSync(join(folder, 'elsewhere'))
      refused(folder, new RegExp(`${name}: is a symbolic link`))
      assert.equal(readdirSync(folder).includes('elsewhere'), false)
    })

    test('is refused when it is short or empty', (t) => {
      const folder = dataDir(t)
      for (const content of ['', '\n', 'abcd', 'a'.repeat(31)]) {
        writeFileSync(join(folder, name), content, { mode: 0o600 })
        refused(folder, new RegExp(name))
      }
    })

    test('is refused when it is a folder or a pipe', async (t) => {
      const folder = dataDir(t)
      mkdirSync(join(folder, name), { mode: 0o700 })
      refused(folder, new RegExp(`${name}: is not a file`))
      rmSync(join(folder, name), { recursive: true })
      await promisify(execFile)('mkfifo', ['-m', '600', join(folder, name)])
      refused(folder, new RegExp(`${name}: is not a file`))
    })

    test('is refused when it belongs to somebody else', { skip: !isRoot && 'needs root' }, (t) => {
      const folder = dataDir(t)
      writeFileSync(join(folder, name), hex, { mode: 0o600 })
      chownSync(join(folder, name), 12_345, 12_345)
      refused(folder, new RegExp(`${name}: belongs to uid 12345, and the hub runs as uid 0`))
    })
  })
}

describe('the environment', () => {
  test('goes before the files, and then none is made', (t) => {
    const folder = dataDir(t)
    const token = 't'.repeat(32)
    const secrets = load(folder, { JPY_COOKIE_SECRET: hex, CONFIGPROXY_AUTH_TOKEN: token })
    assert.equal(secrets.cookieSecret.toString('hex'), hex)
    assert.equal(secrets.proxyToken, token)
    assert.deepEqual(readdirSync(folder), [])
  })

  for (const [variable, value, message] of [
    ['JPY_COOKIE_SECRET', 'not hex', /^JPY_COOKIE_SECRET: is not hex.*openssl rand -hex 32/],
    ['JPY_COOKIE_SECRET', 'abc', /^JPY_COOKIE_SECRET: is not hex/],
    ['JPY_COOKIE_SECRET', 'ab'.repeat(31), /^JPY_COOKIE_SECRET: holds 31 bytes/],
    ['CONFIGPROXY_AUTH_TOKEN', 't'.repeat(31), /^CONFIGPROXY_AUTH_TOKEN: .*32/],
    ['CONFIGPROXY_AUTH_TOKEN', `${'t'.repeat(40)} t`, /^CONFIGPROXY_AUTH_TOKEN: .*without spaces/],
    ['JUPYTERHUB_CRYPT_KEY', 'short', /^JUPYTERHUB_CRYPT_KEY: key 1 is neither/],
    ['JUPYTERHUB_CRYPT_KEY', `${hex};x`, /^JUPYTERHUB_CRYPT_KEY: key 2 is neither/],
  ] as const) {
    test(`is refused with a bad ${variable} (${value.length} characters)`, (t) => {
      refused(dataDir(t), message, { [variable]: value })
    })
  }

  test('gives crypt keys in order, hex or base64', (t) => {
    const key = Buffer.alloc(32, 0xfb)
    const value = `${hex}; ${key.toString('base64')};${key.toString('base64url')}=;`
    const { cryptKeys } = load(dataDir(t), { JUPYTERHUB_CRYPT_KEY: value })
    assert.deepEqual(cryptKeys, [Buffer.from(hex, 'hex'), key, key])
  })

  test('without crypt keys gives none', (t) => {
    assert.deepEqual(load(dataDir(t)).cryptKeys, [])
  })
})

test('the key id changes with the cookie secret and does not hold it', (t) => {
  const folder = dataDir(t)
  const one = load(folder, { JPY_COOKIE_SECRET: hex })
  const again = load(folder, { JPY_COOKIE_SECRET: hex.toUpperCase() })
  const other = load(folder, { JPY_COOKIE_SECRET: 'cd'.repeat(32) })
  assert.equal(one.cookieKeyId, again.cookieKeyId)
  assert.notEqual(one.cookieKeyId, other.cookieKeyId)
  assert.match(one.cookieKeyId, /^[0-9a-f]{16}$/)
})

test('two hubs that start at once agree, and drafts of a crash do no harm', async (t) => {
  const folder = dataDir(t)
  writeFileSync(join(folder, 'proxy_auth_token.0123456789ab'), 'ha')
  const script = `
    import { loadSecrets } from ${JSON.stringify(join(import.meta.dirname, '../../hub/secrets.ts'))}
    process.stdout.write(loadSecrets({ dataDir: ${JSON.stringify(folder)}, env: {} }).proxyToken)`
  const args = ['--conditions=source', '--import=tsx', '--input-type=module', '-e', script]
  const runs = await Promise.all(
    Array.from({ length: 4 }, () => promisify(execFile)(process.execPath, args)),
  )
  const tokens = new Set(runs.map(({ stdout }) => stdout))
  assert.equal(tokens.size, 1)
  assert.match([...tokens][0] ?? '', /^[0-9a-f]{64}$/)
})

test('a file with several names is still read by its own mode', (t) => {
  const folder = dataDir(t)
  writeFileSync(join(folder, 'proxy_auth_token'), hex, { mode: 0o600 })
  linkSync(join(folder, 'proxy_auth_token'), join(folder, 'copy'))
  assert.equal(load(folder).proxyToken, hex)
})

test('a folder that cannot be written is named', (t) => {
  refused(join(dataDir(t), 'gone'), /gone\/jupyterhub_cookie_secret: cannot be written/)
})
