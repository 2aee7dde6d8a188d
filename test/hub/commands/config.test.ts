import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { HubError } from '../../../packages/core/errors.ts'
import { runCommand } from '../../support/command-run.ts'
import { temporaryFolder } from '../../support/folder.ts'

const good = `
import { defineConfig } from 'portico/config'
export default defineConfig({
  hub: { adminUsers: ['ada'], dataDir: 'data' },
  authenticator: { driver: 'dummy', password: 'open sesame', allowedUsers: ['ada'] },
  spawner: { driver: 'simple', allowRoot: true, environment: { API_TOKEN: 'hush', COURSE: 'physics' } },
})`

describe('config check', () => {
  test('is content with a good config', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(join(cwd, 'portico.config.ts'), good, { mode: 0o600 })
    const { status, out, err } = await runCommand('config check', { cwd })
    assert.deepEqual([status, err], [0, []])
    assert.deepEqual(out, [`${cwd}/portico.config.ts: is fine`])
    assert.equal(existsSync(join(cwd, 'data')), false)
  })

  test('prints all problems, each with the file and its path, and fails', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(
      join(cwd, 'portico.config.json'),
      '{"hub":{"bind_url":"x","logLevel":1},"authenticator":{"driver":"dumy"},"servers":[]}',
    )
    const { status, out, err } = await runCommand('config check', { cwd })
    assert.deepEqual([status, out], [1, []])
    assert.equal(err.length, 4, err.join('\n'))
    for (const line of err) assert.ok(line.startsWith(`${cwd}/portico.config.json: `), line)
  })

  test('fails when nobody could log in', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(
      join(cwd, 'portico.config.json'),
      '{"authenticator":{"driver":"dummy","allowAll":false},"spawner":{"driver":"simple","allowRoot":true}}',
    )
    const { status, err } = await runCommand(`config check --data-dir ${cwd}/data`, { cwd })
    assert.equal(status, 1)
    assert.match(err.join(), /A2-18/)
  })

  test('fails without a config file, and says how to get one', async (t) => {
    const { status, err } = await runCommand('config check', { cwd: temporaryFolder(t) })
    assert.equal(status, 1)
    assert.match(err.join(), /holds no config file: 'portico config init' writes one/)
  })

  test('warns of a secret that others may read', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(join(cwd, 'portico.config.ts'), good)
    chmodSync(join(cwd, 'portico.config.ts'), 0o644)
    const { status, err } = await runCommand('config check', { cwd })
    assert.equal(status, 0)
    assert.match(err.join(), /authenticator\.password: is a secret in a file that others may read/)
    assert.doesNotMatch(err.join(), /sesame/)
  })

  test('looks at the data directory, too', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(join(cwd, 'portico.config.ts'), good, { mode: 0o600 })
    mkdirSync(join(cwd, 'data'))
    chmodSync(join(cwd, 'data'), 0o755)
    await assert.rejects(runCommand('config check', { cwd }), /data: has mode 0755.*A3-39/)
  })

  test('judges the flags along with the file', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(join(cwd, 'portico.config.ts'), good, { mode: 0o600 })
    const { status, err } = await runCommand('config check --url http://0.0.0.0:80', { cwd })
    assert.equal(status, 1)
    assert.match(err.join('\n'), /^command line: hub\.bindUrl: .*A1-1/)
  })
})

describe('config print', () => {
  test('shows every option with its origin, and no secret', async (t) => {
    const cwd = temporaryFolder(t)
    writeFileSync(join(cwd, 'portico.config.ts'), good, { mode: 0o600 })
    const flags = '--port 9000 --base-url jhub --set spawner.startTimeout=5'
    const { status, out } = await runCommand(`config print ${flags}`, { cwd })
    const text = out.join('\n')
    assert.equal(status, 0)
    assert.doesNotMatch(text, /sesame|hush/)
    for (const line of [
      `# config file: ${cwd}/portico.config.ts`,
      `# data directory: ${cwd}/data`,
      'hub.bindUrl = "http://127.0.0.1:9000/"  # command line',
      'hub.baseUrl = "/jhub/"  # command line',
      'hub.adminUsers = ["ada"]  # file',
      'hub.publicUrl = (not set)  # default',
      'authenticator.driver = "dummy"  # file',
      'authenticator.password = "(secret)"  # file',
      'spawner.environment = {"API_TOKEN":"(secret)","COURSE":"physics"}  # file',
      'spawner.startTimeout = 5  # command line',
      'spawner.interruptTimeout = 30  # default',
      'proxy.driver = "configurable-http-proxy"  # default',
    ]) {
      assert.ok(out.includes(line), `${line}\nin\n${text}`)
    }
  })

  test('shows a quick start where there is no file', async (t) => {
    const { out } = await runCommand('config print', { cwd: temporaryFolder(t) })
    assert.ok(out.includes('# config file: none: a quick start'))
    assert.ok(out.includes('authenticator.driver = "quick-start"  # quick start'))
  })
})

describe('config init', () => {
  test('writes a private config that passes the check as it is', async (t) => {
    const cwd = temporaryFolder(t)
    const { status } = await runCommand('config init', { cwd })
    assert.equal(status, 0)
    const file = join(cwd, 'portico.config.ts')
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.match(readFileSync(file, 'utf8'), /allowedUsers: \['ada'\]/)
    const check = await runCommand(`config check --set spawner.driver=local --data-dir ${cwd}/d`, {
      cwd,
    })
    assert.deepEqual([check.status, check.err], [0, []])
  })

  test('gives each site its own password', async (t) => {
    const password = async () => {
      const cwd = temporaryFolder(t)
      await runCommand('config init', { cwd })
      return /password: '(.+)'/.exec(readFileSync(join(cwd, 'portico.config.ts'), 'utf8'))?.[1]
    }
    const [one = '', two = ''] = [await password(), await password()]
    assert.ok(one.length >= 16)
    assert.notEqual(one, two)
  })

  test('as root gives people servers under their own accounts', async (t) => {
    const cwd = temporaryFolder(t)
    const account = { userName: 'root', home: '/root', isRoot: true }
    await runCommand('config init', { cwd, account, env: { SUDO_USER: 'grace' } })
    const text = readFileSync(join(cwd, 'portico.config.ts'), 'utf8')
    assert.match(text, /driver: 'local'/)
    assert.match(text, /allowedUsers: \['grace'\]/)
  })

  for (const name of ['portico.config.ts', 'portico.config.json']) {
    test(`never overwrites: not beside ${name}`, async (t) => {
      const cwd = temporaryFolder(t)
      writeFileSync(join(cwd, name), 'mine')
      await assert.rejects(
        runCommand('config init', { cwd }),
        (error) =>
          error instanceof HubError && error.message === `${cwd}/${name}: is there already`,
      )
      assert.equal(readFileSync(join(cwd, name), 'utf8'), 'mine')
      await assert.rejects(runCommand(`config init --config ${name}`, { cwd }), /is there already/)
    })
  }
})

describe('flags are refused', () => {
  for (const [flags, message] of [
    ['--port x', /'--port x' is no port/],
    ['--port 70000', /is no port/],
    ['--set nonsense', /is no assignment: write for example hub\.logLevel=debug/],
    ['--config gone.ts', /gone\.ts: there is no such config file/],
  ] as const) {
    test(flags, async (t) => {
      await assert.rejects(
        runCommand(`config print ${flags}`, { cwd: temporaryFolder(t) }),
        message,
      )
    })
  }

  for (const flags of [
    '--url http://0.0.0.0:8000',
    '--url http://192.168.1.1:8000 --set hub.allowPlainHttp=true',
    '--set hub.publicUrl=https://jupyter.example.org',
  ]) {
    test(`in a quick start: ${flags}`, async (t) => {
      const { status, err } = await runCommand(`config print ${flags}`, { cwd: temporaryFolder(t) })
      assert.equal(status, 1)
      assert.ok(err.length > 0)
    })
  }
})
