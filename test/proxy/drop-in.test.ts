import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { type TestContext, it } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { ProxySettings } from '../../proxy/settings.ts'
import { type Authority, testAuthority } from '../support/certificates.ts'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { ask } from './ask.ts'
import { freePorts, runProgram, startProgram } from './programs.ts'
import { type Echoed, echo, exchange, get, httpTarget, testProxy, token } from './support.ts'

/** Where configurable-http-proxy 5.3.0 is wrong, or says nothing clear, and ours is right. */
const name = 'portico-proxy'
const noTls = { ca: null, ciphers: null, protocol: null, dhparam: null }
const client = { ...noTls, key: null, cert: null, insecure: false }

function seen(text: string): Echoed {
  return JSON.parse(text) as Echoed
}

async function secureTarget(t: TestContext, authority: Authority): Promise<string> {
  const { key, cert } = authority.issue('target')
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, echo)
  t.after(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `https://localhost:${(server.address() as { port: number }).port}`
}

it('verifies https targets by their own name, unless told not to', async (t) => {
  const authority = testAuthority(temporaryFolder(t))
  const target = await secureTarget(t, authority)
  const cases: [clientTls: ProxySettings['clientTls'], status: number][] = [
    [client, 503],
    [{ ...client, ca: authority.ca }, 200],
    [{ ...client, insecure: true }, 200],
  ]
  for (const [clientTls, status] of cases) {
    await using proxy = await testProxy({ clientTls, errorTarget: `${target}/error` })
    await proxy.route('/up', target)
    const answer = await ask(`${proxy.url}/up`, { headers: { host: 'elsewhere.test' } })
    assert.equal(answer.status, status)
    const page = (await ask(`${proxy.url}/none`)).text
    if (status === 200) assert.equal(seen(page).url, '/error/404?url=%2Fnone')
    else assert.match(page, /404 Not Found/)
  }
})

it('knows a host by any spelling', async () => {
  await using target = await httpTarget()
  await using proxy = await testProxy({ hostRouting: true })
  await proxy.route('/Hub.test/user', target.url)
  await proxy.route('/[::1]', target.url)
  await proxy.route('/dotted.test./user', target.url)
  await proxy.route('/', 'http://127.0.0.1:1')
  const root = (await (await proxy.api('GET', '/api/routes/')).json()) as Record<string, object>
  assert.deepEqual(Object.keys(root['/'] ?? {}), ['target', 'last_activity'])
  await proxy.api('DELETE', '/api/routes/')
  const dotted = { headers: { host: 'dotted.test' } }
  assert.equal((await ask(`${proxy.url}/user/x`, dotted)).status, 200)
  for (const host of ['hub.test', 'HUB.test:80', 'hub.test.', 'hub.TEST.:8000']) {
    const { status, text } = await ask(`${proxy.url}/user/x`, { headers: { host } })
    assert.equal(status, 200, host)
    assert.equal(seen(text).url, '/user/x')
    assert.equal((await ask(`${proxy.url}/other`, { headers: { host } })).status, 404)
  }
  for (const host of ['[::1]', '[::1]:8000']) {
    assert.equal((await ask(`${proxy.url}/x`, { headers: { host } })).status, 200)
  }
})

it('leaves out the prefix by segments, whatever their spelling', async () => {
  await using target = await httpTarget()
  await using proxy = await testProxy({ includePrefix: false, hostRouting: true })
  await proxy.route('/hub.test/user/foo bar', target.url)
  const at = async (path: string) =>
    seen((await ask(`${proxy.url}${path}`, { headers: { host: 'hub.test' } })).text).url
  assert.equal(await at('/user/foo%20bar/echo?x'), '/echo?x')
  assert.equal(await at('/user/foo%20bar?x=/y'), '/?x=/y')
  assert.equal(await at('/user/%66oo%20bar/'), '/')
})

it("leaves the target's path as it is when nothing follows the prefix", async () => {
  await using target = await httpTarget()
  await using proxy = await testProxy({ includePrefix: false })
  await proxy.route('/bar', `${target.url}/foo`)
  const at = async (path: string) => seen((await ask(`${proxy.url}${path}`)).text).url
  assert.deepEqual(await Promise.all(['/bar', '/bar?x=1', '/bar/', '/bar/?x=1'].map(at)), [
    '/foo',
    '/foo?x=1',
    '/foo/',
    '/foo/?x=1',
  ])
})

it('writes the public origin into a Location, not a mixture', async () => {
  await using target = await httpTarget((_request, response) => {
    response.writeHead(302, { location: `${target.url}/a//b?c` }).end()
  })
  await using proxy = await testProxy({ autoRewrite: true })
  await proxy.route('/', target.url)
  for (const host of ['hub.test', 'hub.test:8443']) {
    const { headers } = await ask(proxy.url, { headers: { host } })
    assert.equal(headers.location, `http://${host}/a//b?c`)
  }
})

it('--change-origin wins over a custom Host of any case', async () => {
  await using target = await httpTarget()
  for (const spelled of ['Host', 'host']) {
    const customHeaders = [[spelled, 'custom.test']] as const
    await using proxy = await testProxy({ changeOrigin: true, customHeaders })
    await proxy.route('/', target.url)
    const { rawHeaders } = seen((await ask(proxy.url)).text)
    const hosts = rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === 'host')
    assert.deepEqual(hosts, [`127.0.0.1:${target.port}`])
  }
})

it('redirects to https as it is reached', async (t) => {
  const { key, cert } = testAuthority(temporaryFolder(t)).issue('public')
  const [redirectPort = 0] = await freePorts(1)
  const flags = ['--ssl-key', key, '--ssl-cert', cert, '--redirect-port', `${redirectPort}`]
  await startProgram(t, name, { flags: [...flags, '--redirect-to', '443'] })
  const at = async (...headers: string[]) => {
    const head = ['GET /a?b HTTP/1.0', ...headers, '', ''].join('\r\n')
    return /^HTTP\/1.1 (\d+)[^]*?\r\n(?:[Ll]ocation: (.*)\r\n)?/.exec(
      await exchange(redirectPort, head),
    )
  }
  assert.deepEqual((await at('Host: hub.test:80'))?.slice(1), ['301', 'https://hub.test/a?b'])
  assert.deepEqual((await at('Host: [::1]:8000'))?.slice(1), ['301', 'https://[::1]/a?b'])
  assert.equal((await at())?.[1], '400')
  assert.equal((await at('Host: a/b'))?.[1], '400')
})

it('serves TLS of one version, and plain HTTP where another protocol is asked for', async (t) => {
  const authority = testAuthority(temporaryFolder(t))
  const { key, cert } = authority.issue('public')
  await using target = await httpTarget()
  const publicTls = {
    ...noTls,
    key,
    cert,
    passphrase: null,
    requestCert: false,
    protocol: 'TLSv1_2_method',
  }
  await using proxy = await testProxy({ publicTls })
  await proxy.route('/', target.url)
  const ca = readFileSync(authority.ca)
  const socket = connectTls({ port: proxy.port, host: '127.0.0.1', ca })
  await once(socket, 'secureConnect')
  assert.equal(socket.getProtocol(), 'TLSv1.2')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.write(get('/x', 'Connection: Upgrade, close', 'Upgrade: h2c'))
  await once(socket, 'close')
  assert.match(text, /^HTTP\/1.1 200 [^]*"x-forwarded-proto":"https"/)
})

it('takes a socket file over that nobody listens on, and never one in use', async (t) => {
  const socket = join(temporaryFolder(t), 'public')
  const [apiPort = 0] = await freePorts(1)
  const flags = ['--socket', socket, '--api-ip', '127.0.0.1', '--api-port', `${apiPort}`]
  await using target = await httpTarget()
  const options = { flags: [...flags, '--default-target', target.url], withPorts: false }
  const first = await startProgram(t, name, options)
  const { stderr, status } = runProgram(name, ['--socket', socket])
  assert.deepEqual([status, stderr], [1, `portico-proxy: ${socket} is in use by another program\n`])
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  assert.ok(existsSync(socket))
  const second = await startProgram(t, name, options)
  const { text } = await ask('http://localhost/x', { socketPath: socket })
  assert.ok(!('x-forwarded-for' in seen(text).headers))
  second.child.kill('SIGTERM')
  await once(second.child, 'exit')
  assert.ok(!existsSync(socket))
})

it('says in one line what cannot be', (t) => {
  const folder = temporaryFolder(t)
  const pair = testAuthority(folder).issue('pair')
  const other = testAuthority(folder, 'ca2').issue('other')
  const cases: [flags: string[], line: RegExp][] = [
    [['--api-socket', '/x', '--api-port', '1'], /--api-socket and --api-port exclude each other/],
    [['--metrics-socket', '/x', '--metrics-ip', '::1'], /--metrics-socket and --metrics-ip/],
    [['--socket', '/x', '--ip', '::1'], /--socket and --ip exclude/],
    [['--redirect-port', '1'], /--redirect-port needs --ssl-key and --ssl-cert/],
    [['--ssl-key', pair.key], /--ssl-key and --ssl-cert are needed together/],
    [['--ssl-key', pair.key, '--ssl-cert', '/none'], /--ssl-cert: ENOENT/],
    [['--ssl-key', pair.key, '--ssl-cert', other.cert], /TLS of the public side cannot be set up/],
    [['--client-ssl-ca', '/none'], /--client-ssl-ca: ENOENT/],
    [['--ssl-protocol', 'SSLv9', '--ssl-key', pair.key, '--ssl-cert', pair.cert], /TLS of the/],
    [['--storage-backend', 'no-such-module'], /--storage-backend no-such-module: Cannot find/],
    [['--storage-backend', 'node:os'], /--storage-backend node:os: it exports no class/],
    [['--storage-backend', 'x', '--persist-routes', 'y'], /--storage-backend and --persist-routes/],
    [['--storage-backend', 'x', '--workers', '2'], /--storage-backend and more than one/],
    [['--workers', '0'], /--workers must be at least 1/],
    [['--protocol-rewrite', 'a b'], /--protocol-rewrite must be a scheme/],
    [['--socket', '/nowhere/x'], /\/nowhere\/x cannot be made: its folder is not there/],
    [['--socket', `/tmp/${'x'.repeat(200)}`], /cannot listen on \/tmp\/x+: [^]* 107 bytes/],
  ]
  for (const [flags, line] of cases) {
    const { status, stderr } = runProgram(name, flags)
    assert.equal(status, 1, flags.join(' '))
    assert.match(stderr, line)
    assert.match(stderr, /^portico-proxy: [^\n]+\n$/)
  }
})

it('takes its token from a file, as in a container', async (t) => {
  const file = join(temporaryFolder(t), 'token')
  writeFileSync(file, `${token}\n`)
  const env = { CONFIGPROXY_AUTH_TOKEN: '', CONFIGPROXY_AUTH_TOKEN_FILE: file }
  const flags = ['--default-target', '', '--error-target', '']
  const proxy = await startProgram(t, name, { env, flags })
  assert.deepEqual(await (await proxy.api('GET', '/api/routes')).json(), {})
  assert.equal((await ask(`${proxy.apiUrl}/api/routes`)).status, 403)
  for (const wrong of [
    { ...env, CONFIGPROXY_AUTH_TOKEN: 'x' },
    { ...env, CONFIGPROXY_AUTH_TOKEN_FILE: '/none' },
  ]) {
    const { status, stderr } = runProgram(name, [], wrong)
    assert.equal(status, 1)
    assert.match(stderr, /^portico-proxy: CONFIGPROXY_AUTH_TOKEN[^\n]+\n$/)
  }
})

it('stands first on a PATH under the name that JupyterHub starts', async (t) => {
  const folder = fileURLToPath(new URL('../../proxy/bin', import.meta.url))
  const env = { PATH: `${folder}:${process.env['PATH']}` }
  const { stdout } = spawnSync('configurable-http-proxy', ['--version'], { env, encoding: 'utf8' })
  assert.equal(stdout, '5.3.0\n')
  const [port = 0, apiPort = 0] = await freePorts(2)
  const ports = ['--ip', '127.0.0.1', '--port', '1', '--port', String(port)]
  const args = [...ports, '--api-ip', '127.0.0.1', '--api-port', String(apiPort), '--workers', '2']
  const child = spawn('configurable-http-proxy', args, { env })
  t.after(() => child.kill('SIGKILL'))
  const health = () => ask(`http://127.0.0.1:${port}/_chp_healthz`).catch(() => null)
  await until('it serves', async () => (await health())?.status === 200, 30_000)
})
