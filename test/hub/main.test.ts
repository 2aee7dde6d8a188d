import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { listProcesses } from '../../hub/store/processes.ts'
import { openDatabase } from '../../hub/store/database.ts'
import { isAlive, type ProcessIdentity } from '../../packages/process/index.ts'
import {
  makeSite,
  portico,
  type Site,
  startPortico,
  writeConfig,
} from '../support/portico-program.ts'

const limit = { timeout: 60_000 }

/** The proxy as the hub has recorded it. */
async function recordedProxy(site: Site): Promise<ProcessIdentity> {
  await using database = await openDatabase(join(site.dataDir, 'portico.sqlite'))
  const recorded = await listProcesses(database)
  const proxy = recorded.find(({ what }) => what === 'proxy')
  assert.ok(proxy, 'no proxy is recorded')
  return proxy.identity
}

async function isPortFree(url: string): Promise<boolean> {
  const server = createServer().listen(Number(new URL(url).port), '127.0.0.1')
  const free = await Promise.race([
    once(server, 'listening').then(() => true),
    once(server, 'error').then(() => false),
  ])
  server.close()
  return free
}

async function health(site: Site): Promise<number> {
  return (await fetch(`${site.url}/hub/health`)).status
}

describe('a quick start', limit, () => {
  test('prints a link with its secret in the fragment, and what comes next', async (t) => {
    const site = await makeSite(t)
    const hub = await startPortico(site)
    assert.match(hub.out, new RegExp(`Portico .* runs at ${site.url}/\n`))
    assert.match(hub.out, new RegExp(`${site.url}/hub/quick-start#[\\w-]{43}\n`))
    assert.match(hub.out, /npm run portico -- config init/)
    assert.equal(await health(site), 200)
  })

  test('keeps its state in a private directory, and nothing in the working directory', async (t) => {
    const site = await makeSite(t)
    await startPortico(site)
    assert.deepEqual(readdirSync(site.cwd), ['data'])
    assert.equal(statSync(site.dataDir).mode & 0o777, 0o700)
    for (const name of ['portico.sqlite', 'jupyterhub_cookie_secret', 'hub.sock']) {
      assert.equal(statSync(join(site.dataDir, name)).mode & 0o077, 0, name)
    }
  })

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`ends everything it started at ${signal}`, async (t) => {
      const site = await makeSite(t)
      const hub = await startPortico(site)
      const proxy = await recordedProxy(site)
      assert.equal(isAlive(proxy), true)
      hub.signal(signal)
      const { code, err } = await hub.ended()
      assert.equal(code, 0, err)
      assert.equal(isAlive(proxy), false)
      assert.equal(await isPortFree(site.url), true)
    })
  }

  test('gives another link on request', async (t) => {
    const site = await makeSite(t)
    const hub = await startPortico(site)
    const { code, out } = await portico(site, 'login-link')
    assert.equal(code, 0)
    assert.match(out, new RegExp(`^${site.url}/hub/quick-start#[\\w-]{43}\n$`))
    assert.ok(!hub.out.includes(out.trim()))
  })

  test('works under a base url', async (t) => {
    const site = await makeSite(t)
    const hub = await startPortico(site, '--base-url=/jhub/')
    assert.match(hub.out, new RegExp(`${site.url}/jhub/hub/quick-start#`))
    assert.equal((await fetch(`${site.url}/jhub/hub/health`)).status, 200)
  })

  test('starts again on the data of the last one', async (t) => {
    const site = await makeSite(t)
    const first = await startPortico(site)
    first.signal('SIGINT')
    await first.ended()
    const second = await startPortico(site)
    assert.equal(await health(site), 200, second.err)
  })
})

describe('a start that cannot be', limit, () => {
  test('is refused in one line beside a hub that runs, which goes on', async (t) => {
    const site = await makeSite(t)
    const hub = await startPortico(site)
    const second = await startPortico(site)
    const { code, err } = await second.ended()
    assert.equal(code, 1)
    assert.match(
      err,
      new RegExp(`^portico: another hub uses ${site.dataDir}: pid ${hub.pid}, started .*\n$`),
    )
    assert.equal(await health(site), 200)
  })

  test('names a port that is taken, and leaves no process', async (t) => {
    const site = await makeSite(t)
    const owner = createServer().listen(Number(new URL(site.url).port), '127.0.0.1')
    await once(owner, 'listening')
    t.after(() => owner.close())
    const { code, err } = await (await startPortico(site)).ended()
    assert.equal(code, 1)
    assert.match(err, new RegExp(`portico: .*${new URL(site.url).port}`))
    assert.doesNotMatch(err, /\n {4}at /)
  })

  test('because of a flag is refused before anything is made', async (t) => {
    const site = await makeSite(t)
    const result = await portico(site, 'start', '--set=hub.logLevel=loud', '--port=0')
    assert.equal(result.code, 1)
    assert.match(result.err, /^command line: hub\.logLevel: /)
    assert.equal(existsSync(site.dataDir), false)
  })
})

describe('with a config', limit, () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`the proxy outlives the hub at ${signal}, and stop --all ends it`, async (t) => {
      const site = await makeSite(t)
      writeConfig(site)
      const hub = await startPortico(site)
      hub.signal(signal)
      const { code, out } = await hub.ended()
      assert.equal(code, 0)
      assert.equal(/Still running: the proxy\. .*stop --all/.test(out), signal === 'SIGINT')
      const proxy = await recordedProxy(site)
      assert.equal(isAlive(proxy), true)
      const stopped = await portico(site, 'stop', '--all')
      assert.equal(stopped.code, 0, stopped.err)
      assert.match(stopped.out, new RegExp(`proxy: stopped \\(pid ${proxy.pid}\\)`))
      assert.equal(isAlive(proxy), false)
      assert.equal(await isPortFree(site.url), true)
    })
  }

  test('stop --all ends a hub that runs, its proxy, and is content to find nothing', async (t) => {
    const site = await makeSite(t)
    writeConfig(site)
    const hub = await startPortico(site)
    const proxy = await recordedProxy(site)
    const stopped = await portico(site, 'stop', '--all')
    assert.equal(stopped.code, 0, stopped.err)
    assert.equal((await hub.ended()).code, 0)
    assert.equal(isAlive(proxy), false)
    assert.equal((await portico(site, 'stop', '--all')).code, 0)
  })

  test('stop ends the hub alone', async (t) => {
    const site = await makeSite(t)
    writeConfig(site)
    const hub = await startPortico(site)
    assert.equal((await portico(site, 'stop')).code, 0)
    assert.equal((await hub.ended()).code, 0)
    assert.equal(isAlive(await recordedProxy(site)), true)
    const again = await portico(site, 'stop')
    assert.equal(again.code, 1)
    assert.match(again.err, /no hub runs on/)
  })

  test('stop --all ends what a killed hub has left', async (t) => {
    const site = await makeSite(t)
    writeConfig(site)
    const hub = await startPortico(site)
    const proxy = await recordedProxy(site)
    hub.signal('SIGKILL')
    await hub.ended()
    assert.equal(isAlive(proxy), true)
    const stopped = await portico(site, 'stop', '--all')
    assert.equal(stopped.code, 0, stopped.err)
    assert.equal(isAlive(proxy), false)
  })
})

describe('commands on a hub that runs, and on one that does not', limit, () => {
  test('users set-admin names an admin and takes it back', async (t) => {
    const site = await makeSite(t)
    writeConfig(site)
    const hub = await startPortico(site)
    for (const state of ['runs', 'does not']) {
      const revoked = await portico(site, 'users', 'set-admin', 'ada', '--revoke')
      assert.deepEqual([revoked.code, revoked.out], [0, 'ada is no admin any more\n'], state)
      const granted = await portico(site, 'users', 'set-admin', 'ada')
      assert.deepEqual([granted.code, granted.out], [0, 'ada is an admin now\n'], state)
      const unknown = await portico(site, 'users', 'set-admin', 'eve')
      assert.equal(unknown.code, 1)
      assert.match(unknown.err, /^portico: 'eve' is not known/)
      hub.signal('SIGTERM')
      await hub.ended()
    }
  })

  test('db backup, check and upgrade', async (t) => {
    const site = await makeSite(t)
    writeConfig(site)
    const hub = await startPortico(site)
    const busy = await portico(site, 'db', 'upgrade')
    assert.equal(busy.code, 1)
    assert.match(busy.err, new RegExp(`another hub uses .*pid ${hub.pid}`))
    for (const state of ['runs', 'does not']) {
      const backup = await portico(site, 'db', 'backup')
      assert.equal(backup.code, 0, `${state}: ${backup.err}`)
      assert.equal(readFileSync(backup.out.trim()).toString('latin1', 0, 15), 'SQLite format 3')
      const check = await portico(site, 'db', 'check')
      assert.match(check.out, /portico\.sqlite: is fine, schema \d+\n/, `${state}: ${check.err}`)
      hub.signal('SIGTERM')
      await hub.ended()
    }
    assert.match((await portico(site, 'db', 'upgrade')).out, /has the newest schema/)
  })

  test('where no hub has ever run, they say so', async (t) => {
    const site = await makeSite(t)
    for (const command of [
      'login-link',
      'db backup',
      'db check',
      'db upgrade',
      'users set-admin ada',
    ]) {
      const { code, err } = await portico(site, ...command.split(' '))
      assert.equal(code, 1, command)
      assert.match(err, /^portico: no hub runs on .*\n$/, command)
    }
    assert.equal(existsSync(site.dataDir), false)
  })
})

describe('the program', limit, () => {
  test('tells a wrong command line by exit status 2', async (t) => {
    const { code, err } = await portico(await makeSite(t), 'strat')
    assert.deepEqual([code, err], [2, "portico: unknown command 'strat': did you mean 'start'?\n"])
  })

  test('shows its version and its help', async (t) => {
    const site = await makeSite(t)
    assert.match((await portico(site, '--version')).out, /^portico \d+\.\d+\.\d+ .*6\.0\.0/)
    assert.match((await portico(site, '--help')).out, /login-link/)
    assert.match((await portico(site, 'db', 'backup', '--help')).out, /newest three/)
  })

  test('shows where an error came from with --debug only', async (t) => {
    const site = await makeSite(t)
    assert.doesNotMatch((await portico(site, 'login-link')).err, /\n {4}at /)
    assert.match((await portico(site, 'login-link', '--debug')).err, /\n {4}at /)
  })

  test('with --url asks for a token, and tells what a hub there refuses', async (t) => {
    const site = await makeSite(t)
    const { code, err } = await portico(
      site,
      'users',
      'set-admin',
      'ada',
      '--url=http://127.0.0.1:9',
    )
    assert.equal(code, 1)
    assert.match(err, /needs a token in JUPYTERHUB_API_TOKEN/)
  })
})
