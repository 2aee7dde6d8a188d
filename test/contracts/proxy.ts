import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, describe, it } from 'node:test'
import { HubError } from 'portico/errors'
import { isAlive, parseIdentity } from 'portico/process'
import type { Proxy, ProxyContext, ProxyDriver, Route } from 'portico/proxy'
import type { Json } from 'portico/spawner'
import { type TestTarget, httpTarget } from '../proxy/support.ts'
import { until } from '../support/until.ts'

/** A hub as far as a proxy driver sees one: it remembers what is saved, and its own routes. */
interface TestHub {
  readonly context: ProxyContext
  saved: Json
  readonly lines: string[]
  /** What `restore` puts back; null makes it fail. */
  routes: readonly Route[] | null
  restores: number
  proxy: Proxy
  readonly url: string
  readonly apiUrl: string
  /** The pid that is saved now. */
  pid(): number
}

/** What every proxy driver promises. `options` are the driver's, but for `apiUrl`. */
export function proxyContract(name: string, driver: ProxyDriver, options: object): void {
  const create = (hub: TestHub, overrides: object = {}) =>
    driver.create(
      driver.config.parse({
        apiUrl: hub.apiUrl,
        checkRunningInterval: 0.2,
        ...options,
        ...overrides,
      }),
      { ...hub.context, saved: hub.saved },
    )

  async function started(t: TestContext, overrides: object = {}): Promise<TestHub> {
    const hub = await testHub(t, (each) => create(each, overrides))
    await hub.proxy.start(t.signal)
    return hub
  }

  describe(`${name} keeps the proxy contract`, { concurrency: 2 }, () => {
    it('routes by the next request what was added, and no more what was deleted', async (t) => {
      const hub = await started(t)
      const target = await named(t, 'ada')
      const route = { routespec: '/user/ada/', target: target.url, data: { user: 'ada' } }
      await hub.proxy.add(route)
      assert.equal(await textOf(`${hub.url}/user/ada/lab`), 'ada /user/ada/lab')
      const [reported, ...others] = await hub.proxy.list()
      assert.equal(others.length, 0)
      assert.ok(reported?.lastActivity instanceof Date)
      assert.deepEqual({ ...reported, lastActivity: null }, { ...route, lastActivity: null })
      await hub.proxy.delete('/user/ada/')
      assert.equal((await fetch(`${hub.url}/user/ada/`)).status, 404)
      await hub.proxy.delete('/user/ada/')
    })

    it('routes no more what was buried, until it is added again', async (t) => {
      const hub = await started(t)
      const target = await named(t, 'ada')
      const route = { routespec: '/user/ada/', target: target.url, data: {} }
      await hub.proxy.add(route)
      await hub.proxy.bury?.('/user/ada/', 'crashed')
      assert.deepEqual(await hub.proxy.list(), [])
      const { status } = await fetch(`${hub.url}/user/ada/api`)
      assert.ok(status === 424 || status === 404)
      await hub.proxy.add(route)
      assert.equal(await textOf(`${hub.url}/user/ada/lab`), 'ada /user/ada/lab')
    })

    it('sends nobody astray while a server is announced, and routes to it once it is there', async (t) => {
      const hub = await started(t)
      const target = await named(t, 'ada')
      await hub.proxy.announce?.('/user/ada/')
      assert.deepEqual(await hub.proxy.list(), [])
      const { status } = await fetch(`${hub.url}/user/ada/api`)
      assert.ok(status === 503 || status === 404)
      await hub.proxy.add({ routespec: '/user/ada/', target: target.url, data: {} })
      assert.equal(await textOf(`${hub.url}/user/ada/lab`), 'ada /user/ada/lab')
    })

    it('keeps every spelling of a name apart', async (t) => {
      const hub = await started(t)
      const target = await named(t, 'x')
      const specs = ['/', '/user/a%40b%20c/', '/user/%E7%A7%80/', '/@/space%20word/user/~x/'].map(
        (spec) => spec.replace('%40', '@'),
      )
      specs.push('/user/100%25/', '/user/%21%27%28%29%2A/')
      const routes = specs.map((routespec) => ({ routespec, target: target.url, data: {} }))
      for (const route of routes) await hub.proxy.add(route)
      const listed = (await hub.proxy.list()).map(({ routespec }) => routespec)
      assert.deepEqual(listed.toSorted(), specs.toSorted())
      await hub.proxy.replaceAll(routes)
      for (const routespec of specs) await hub.proxy.delete(routespec)
      assert.deepEqual(await hub.proxy.list(), [])
    })

    it('makes the routes of the hub equal to a table, and leaves those of others', async (t) => {
      const hub = await started(t)
      const target = (await named(t, 'x')).url
      const foreign = await fetch(`${hub.apiUrl}/api/routes/foreign`, {
        method: 'POST',
        headers: { authorization: `token ${hub.context.authToken}` },
        body: JSON.stringify({ target }),
      })
      assert.equal(foreign.status, 201)
      await hub.proxy.add({ routespec: '/old/', target, data: {} })
      const table = ['/', '/user/ada/', '/user/ada/named/'].map((routespec) => ({
        routespec,
        target,
        data: { n: 1 },
      }))
      await hub.proxy.replaceAll(table)
      await hub.proxy.replaceAll(table)
      const listed = (await hub.proxy.list()).map(({ routespec }) => routespec)
      assert.deepEqual(listed.toSorted(), ['/', '/user/ada/', '/user/ada/named/'])
      assert.equal(await textOf(`${hub.url}/foreign`), 'x /foreign')
    })

    it('finds its proxy again after the hub was killed, without a gap', async (t) => {
      const hub = await started(t)
      const target = await named(t, 'ada')
      await hub.proxy.add({ routespec: '/user/ada/', target: target.url, data: {} })
      const pid = hub.pid()
      await hub.proxy.stop({ andProcess: false })
      assert.equal(await textOf(`${hub.url}/user/ada/`), 'ada /user/ada/')
      hub.proxy = create(hub)
      await hub.proxy.start(t.signal)
      assert.equal(hub.pid(), pid)
      assert.equal((await hub.proxy.list()).length, 1)
      assert.equal(hub.restores, 0)
      await hub.proxy.stop({ andProcess: true })
      await until('it has ended', async () => !(await fetch(hub.url).catch(() => null)))
    })

    it('replaces a proxy of the last run that has other settings', async (t) => {
      const hub = await started(t)
      const pid = hub.pid()
      await hub.proxy.stop({ andProcess: false })
      hub.proxy = create(hub, { logLevel: 'debug' })
      await hub.proxy.start(t.signal)
      assert.notEqual(hub.pid(), pid)
      assert.deepEqual(await hub.proxy.list(), [])
    })

    it('restores every route after the proxy was killed, and sends nobody astray', async (t) => {
      const hub = await started(t)
      const names = ['hub', 'ada', 'bob']
      const [home, ada, bob] = await Promise.all(names.map((each) => named(t, each)))
      assert.ok(home && ada && bob)
      hub.routes = [
        { routespec: '/', target: home.url, data: { hub: true } },
        { routespec: '/user/ada/', target: ada.url, data: {} },
        { routespec: '/user/bob/', target: bob.url, data: {} },
      ]
      await hub.proxy.replaceAll(hub.routes)
      const pid = hub.pid()
      process.kill(pid, 'SIGKILL')
      let isBack = false
      await until('the routes are back', async () => {
        const answer = await fetch(`${hub.url}/user/ada/`).catch(() => null)
        const text = (await answer?.text()) ?? ''
        if (answer?.status === 200) assert.equal(text, 'ada /user/ada/')
        isBack = answer?.status === 200 && hub.restores === 1 && hub.pid() !== pid
        return isBack
      })
      await until('all are back', async () => (await textOf(`${hub.url}/x`)) === 'hub /x')
      assert.equal((await hub.proxy.list()).length, 3)
      assert.equal(await textOf(`${hub.url}/user/bob/`), 'bob /user/bob/')
    })

    it('restarts one that it has found, and asks for the routes until they have come', async (t) => {
      const hub = await started(t)
      await hub.proxy.stop({ andProcess: false })
      hub.proxy = create(hub)
      await hub.proxy.start(t.signal)
      hub.routes = null
      const pid = hub.pid()
      process.kill(pid, 'SIGKILL')
      await until('the hub was asked', () => hub.lines.some((line) => /not restored/.test(line)))
      assert.notEqual(hub.pid(), pid)
      const target = (await named(t, 'ada')).url
      hub.routes = [{ routespec: '/user/ada/', target, data: {} }]
      await until('the route is back', async () => (await hub.proxy.list()).length === 1)
    })

    it('waits out a restart with what is asked of it meanwhile', async (t) => {
      const hub = await started(t)
      const target = (await named(t, 'ada')).url
      process.kill(hub.pid(), 'SIGKILL')
      await hub.proxy.add({ routespec: '/user/ada/', target, data: {} })
      assert.equal(await textOf(`${hub.url}/user/ada/`), 'ada /user/ada/')
      await hub.proxy.delete('/user/ada/')
    })

    it('names who has taken its port', async (t) => {
      const hub = await testHub(t, create)
      const thief = createServer().listen(Number(new URL(hub.url).port), '127.0.0.1')
      t.after(() => thief.close())
      await assert.rejects(hub.proxy.start(t.signal), (error) => {
        assert.ok(error instanceof HubError)
        assert.equal(error.code, 'proxy_unreachable')
        assert.match(error.message, new RegExp(`is taken by .*\\(pid ${process.pid}\\)`))
        return true
      })
    })

    it('ends its process and frees the ports when told so', async (t) => {
      const hub = await started(t)
      const identity = identityIn(hub.saved)
      await hub.proxy.stop({ andProcess: true })
      assert.ok(!isAlive(identity))
      assert.equal(hub.saved, null)
      const again = createServer().listen(Number(new URL(hub.url).port), '127.0.0.1')
      await new Promise((resolve) => again.once('listening', resolve))
      await new Promise((resolve) => again.close(resolve))
    })

    it('writes to a private log, without the token', async (t) => {
      const hub = await started(t)
      await hub.proxy.add({ routespec: '/x/', target: 'http://127.0.0.1:9', data: {} })
      const { logFile, authToken } = hub.context
      const log = await until('something is logged', () => readFile(logFile, 'utf8'))
      assert.ok(!log.includes(authToken))
      assert.equal((await stat(logFile)).mode & 0o777, 0o600)
      const argv = await readFile(`/proc/${hub.pid()}/cmdline`, 'utf8')
      assert.ok(!argv.includes(authToken))
    })

    it('watches a proxy that somebody else starts, and sees when its table is lost', async (t) => {
      const owner = await started(t)
      const guest = await testHub(t, () => create(owner, { shouldStart: false }))
      const watcher = driver.create(
        driver.config.parse({
          apiUrl: owner.apiUrl,
          shouldStart: false,
          checkRunningInterval: 0.1,
        }),
        { ...guest.context, authToken: owner.context.authToken },
      )
      guest.proxy = watcher
      await watcher.start(t.signal)
      const target = (await named(t, 'ada')).url
      guest.routes = [{ routespec: '/user/ada/', target, data: {} }]
      await watcher.replaceAll(guest.routes)
      process.kill(owner.pid(), 'SIGKILL')
      const isBack = async () =>
        (await fetch(`${owner.url}/user/ada/`).catch(() => null))?.status === 200
      await until('the guest restores its table', async () => guest.restores > 0 && isBack())
      await watcher.stop({ andProcess: true })
      assert.ok(await isBack(), 'what is not ours goes on')
    })

    it('does not take a wrong token for an answer', async (t) => {
      const owner = await started(t)
      const guest = await testHub(t, () => create(owner))
      guest.proxy = driver.create(
        driver.config.parse({ apiUrl: owner.apiUrl, shouldStart: false }),
        guest.context,
      )
      await assert.rejects(guest.proxy.list(), /refuses our token/)
    })
  })
}

async function testHub(t: TestContext, create: (hub: TestHub) => Proxy): Promise<TestHub> {
  const folder = await mkdtemp(join(tmpdir(), 'proxy-'))
  const errors = await httpTarget((_request, response) => response.end('an error page'))
  const [port, apiPort] = await Promise.all([freePort(), freePort()])
  const lines: string[] = []
  const hub: Omit<TestHub, 'proxy'> & { proxy: Proxy | null } = {
    saved: null,
    lines,
    routes: [],
    restores: 0,
    proxy: null,
    url: `http://127.0.0.1:${port}`,
    apiUrl: `http://127.0.0.1:${apiPort}`,
    pid: () => identityIn(hub.saved).pid,
    context: {
      bindUrl: new URL(`http://127.0.0.1:${port}`),
      errorTarget: `${errors.url}/hub/error`,
      authToken: Math.random().toString(16).slice(2).padEnd(64, '0'),
      env: { PATH: process.env['PATH'] ?? '' },
      saved: null,
      save: async (state) => void (hub.saved = state),
      logFile: join(folder, 'proxy.log'),
      log: { info: (line) => void lines.push(line), warn: (line) => void lines.push(line) },
      restore: async () => {
        if (hub.routes === null) throw new Error('the hub cannot restore now')
        if (hub.routes.length > 0) await hub.proxy?.replaceAll(hub.routes)
        hub.restores += 1
      },
    },
  }
  const complete = hub as TestHub
  complete.proxy = create(complete)
  t.after(async () => {
    await complete.proxy.stop({ andProcess: true })
    await errors[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })
  return complete
}

/** A target that says its name and what it was asked for. */
async function named(t: TestContext, name: string): Promise<TestTarget> {
  const target = await httpTarget((request, response) => response.end(`${name} ${request.url}`))
  t.after(() => target[Symbol.asyncDispose]())
  return target
}

async function textOf(url: string): Promise<string> {
  return (await fetch(url)).text()
}

function identityIn(saved: Json) {
  const identity = parseIdentity((saved as { readonly identity: Json } | null)?.identity)
  assert.ok(identity, 'no process is saved')
  return identity
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
