import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { ask } from '../proxy/ask.ts'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { Kernel } from './kernel.ts'

const jupyterHub = '/usr/bin/jupyterhub'
const skip = existsSync(jupyterHub) ? false : `${jupyterHub} is missing: apt install jupyterhub`
const root = fileURLToPath(new URL('../..', import.meta.url))
const singleUser = join(root, 'test/support/single-user.mjs')
const token = 'token-of-the-operator'

interface Route {
  readonly target: string
}

interface Peer {
  readonly url: string
  /** Calls the hub's API through the proxy. */
  api(method: string, path: string): Promise<Response>
  /** The process of the proxy that runs now, our program. */
  proxyPid(): number | null
  readonly child: ChildProcess
}

/** Debian's JupyterHub, unmodified, with our program first on its PATH, and `more` lines of its config. */
async function startPeer(t: TestContext, base: string, more: readonly string[] = []) {
  const folder = temporaryFolder(t)
  const [port, apiPort, hubPort] = await freePorts(3)
  const config = join(folder, 'jupyterhub_config.py')
  const isSecure = more.some((line) => line.includes('internal_ssl'))
  writeFileSync(
    config,
    `c.JupyterHub.bind_url = 'http://127.0.0.1:${port}${base}'
c.JupyterHub.hub_bind_url = 'http://127.0.0.1:${hubPort}'
c.ConfigurableHTTPProxy.api_url = 'http${isSecure ? 's' : ''}://127.0.0.1:${apiPort}'
c.ConfigurableHTTPProxy.check_running_interval = 1
c.JupyterHub.authenticator_class = 'jupyterhub.auth.DummyAuthenticator'
c.JupyterHub.spawner_class = 'jupyterhub.spawner.SimpleLocalProcessSpawner'
c.SimpleLocalProcessSpawner.home_dir_template = '${folder}'
c.Spawner.cmd = ['${process.execPath}', '${singleUser}']
c.JupyterHub.services = [{'name': 'operator', 'api_token': '${token}'}]
c.JupyterHub.load_roles = [{'name': 'operator', 'scopes': ['admin:users', 'admin:servers', 'access:servers', 'proxy'], 'services': ['operator']}]
${more.join('\n')}
`,
  )
  const PATH = `${join(root, 'proxy/bin')}:${process.env['PATH']}:/usr/bin:/bin`
  const child = spawn(jupyterHub, ['-f', config], { cwd: folder, env: { PATH, HOME: folder } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += part))
  const proxyPid = () => pidOfProxy(port)
  t.after(async () => {
    const exited = child.exitCode === null ? once(child, 'exit') : null
    child.kill('SIGTERM')
    await exited
    const left = proxyPid()
    if (left !== null) process.kill(left, 'SIGKILL')
  })
  const url = `http://127.0.0.1:${port}${base}`
  const peer: Peer = {
    url,
    child,
    proxyPid,
    api: (method, path) =>
      fetch(`${url}hub/api${path}`, { method, headers: { authorization: `token ${token}` } }),
  }
  await until(
    'the hub answers through the proxy',
    async () => {
      assert.equal(child.exitCode, null, output)
      const answer = await fetch(`${url}hub/health`).catch(() => null)
      return answer?.status === 200
    },
    60_000,
  )
  return peer
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

function pidOfProxy(port: number | undefined): number | null {
  const found = readdirSync('/proc').find((pid) => {
    if (!/^\d+$/.test(pid)) return false
    const words = commandOf(pid)
    return words.includes('--port') && words[words.indexOf('--port') + 1] === String(port)
  })
  return found === undefined ? null : Number(found)
}

function commandOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

async function echo(url: string, message: string): Promise<string> {
  const socket = new WebSocket(url.replace('http', 'ws'))
  await once(socket, 'open', { signal: AbortSignal.timeout(30_000) })
  socket.send(message)
  const [data] = (await once(socket, 'message', { signal: AbortSignal.timeout(30_000) })) as [
    Buffer,
  ]
  socket.close()
  await once(socket, 'close')
  return data.toString('utf8')
}

it('JupyterHub 3.0.0 runs our proxy as configurable-http-proxy', { skip }, async (t) => {
  const peer = await startPeer(t, '/@/space%20word/')
  const server = `${peer.url}user/ada/`
  const answers = async () => (await fetch(server)).status === 200

  await t.test('starts the program that is first on its PATH', () => {
    assert.match(
      readFileSync(`/proc/${peer.proxyPid()}/cmdline`, 'utf8'),
      /proxy\/bin\/configurable-http-proxy/,
    )
  })

  await t.test('routes to a server and its WebSockets', async () => {
    assert.equal((await peer.api('POST', '/users/ada')).status, 201)
    assert.ok([201, 202].includes((await peer.api('POST', '/users/ada/server')).status))
    await until('the server answers', answers, 60_000)
    assert.equal(await echo(`${server}socket`, 'hello'), 'hello')
    const routes = (await (await peer.api('GET', '/proxy')).json()) as Record<string, unknown>
    assert.deepEqual(Object.keys(routes).toSorted(), [
      '/@/space%20word/',
      '/@/space%20word/user/ada/',
    ])
  })

  await t.test('shows the page of the hub for a server that is down', async () => {
    const page = await fetch(`${peer.url}user/nobody/`, { headers: { accept: 'text/html' } })
    assert.match(await page.text(), /JupyterHub/)
  })

  await t.test('starts it again when it was killed, with all routes', async () => {
    const before = peer.proxyPid()
    assert.ok(before)
    process.kill(before, 'SIGKILL')
    await until(
      'another one serves',
      async () => (await answers().catch(() => false)) && peer.proxyPid() !== before,
      60_000,
    )
    assert.equal(await echo(`${server}socket`, 'again'), 'again')
  })

  await t.test('ends it when it ends', async () => {
    const exited = once(peer.child, 'exit')
    peer.child.kill('SIGTERM')
    await exited
    await until('the proxy is gone', () => peer.proxyPid() === null, 15_000)
  })
})

const internalTls = [
  'c.JupyterHub.internal_ssl = True',
  "c.Spawner.cmd = ['jupyterhub-singleuser', '--allow-root']",
]

it(
  'JupyterHub 3.0.0 runs our proxy under internal_ssl: all three show certificates',
  { skip },
  async (t) => {
    const peer = await startPeer(t, '/', internalTls)
    const server = `${peer.url}user/ada/`
    const headers = { authorization: `token ${token}` }

    await t.test('API, hub and server are reached by certificate', async () => {
      assert.equal((await peer.api('POST', '/users/ada')).status, 201)
      assert.ok([201, 202].includes((await peer.api('POST', '/users/ada/server')).status))
      const status = () => fetch(`${server}api/status`, { headers })
      await until('the server answers', async () => (await status()).status === 200, 60_000)
      const routes = (await (await peer.api('GET', '/proxy')).json()) as Record<string, Route>
      const targets = Object.values(routes).map(({ target }) => new URL(target).protocol)
      assert.deepEqual(targets, ['https:', 'https:'])
    })

    await t.test('a kernel runs over a WebSocket', async () => {
      const created = await fetch(`${server}api/kernels`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ name: 'python3' }),
      })
      const { id } = (await created.json()) as { readonly id: string }
      const url = `${server.replace('http', 'ws')}api/kernels/${id}/channels`
      await using kernel = await Kernel.connect(url, headers)
      assert.equal(await kernel.execute('6*7'), '42')
    })

    await t.test('who shows none is refused by the server itself', async () => {
      const routes = (await (await peer.api('GET', '/proxy')).json()) as Record<string, Route>
      const url = `${routes['/user/ada/']?.target}/user/ada/api`
      await assert.rejects(ask(url, { rejectUnauthorized: false }), /certificate required|reset/i)
    })
    assert.equal((await peer.api('DELETE', '/users/ada/server')).status, 204)
  },
)
