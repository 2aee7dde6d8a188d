import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { programPath } from 'portico/process'
import { until } from '../support/until.ts'
import { callApi, echoed, handshake, httpTarget, rawClient, rawTarget, token } from './support.ts'

const [node, script] = programPath('proxy/main')
const anyPorts = ['--ip', '127.0.0.1', '--port', '0', '--api-ip', '127.0.0.1']
const withToken = { CONFIGPROXY_AUTH_TOKEN: token }

interface Program {
  readonly child: ChildProcess
  readonly output: () => string
  readonly url: string
  readonly apiUrl: string
}

async function program(t: TestContext, flags: string[], env = {}): Promise<Program> {
  const child = spawn(node, [script, ...anyPorts, ...flags], { env: { ...withToken, ...env } })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (text += part))
  const urls = await until('it listens', () => {
    assert.equal(child.exitCode, null, text)
    return /Proxying (\S+) [^]* Proxy API at (\S+)\/api\/routes\n/.exec(text)
  })
  return { child, output: () => text, url: urls[1] ?? '', apiUrl: urls[2] ?? '' }
}

function run(...args: string[]) {
  return spawnSync(node, [script, ...args], { env: {}, encoding: 'utf8', timeout: 10_000 })
}

test('prints its help and its version', () => {
  const help = run('--help')
  assert.equal(help.status, 0)
  assert.match(help.stdout, /--wait-for-routes/)
  assert.ok(help.stdout.split('\n').every((line) => line.length <= 100))
  const page = readFileSync('docs/proxy.md', 'utf8')
  for (const [each] of help.stdout.matchAll(/--[a-z0-9-]+(?= )|CONFIGPROXY_\w+/g)) {
    assert.match(page, new RegExp(`\\| \`${each}[\` ]`), `${each} is not in docs/proxy.md`)
  }
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  assert.deepEqual([run('-V').stdout, run('--version').status], [`${version}\n`, 0])
})

test('a flag that cannot be followed ends it with one line', () => {
  const cases: [flags: string[], line: RegExp][] = [
    [['--nonsense'], /--nonsense/],
    [['argument'], /argument/],
    [['--port'], /--port/],
    [['--port', 'x'], /--port must be a whole number/],
    [['--port', '65536'], /--port must be a whole number/],
    [['--timeout', '-1'], /--timeout/],
    [['--log-level', 'loud'], /--log-level must be one of/],
    [['--default-target', 'ws://x'], /--default-target must be/],
    [['--error-target', 'http://x', '--error-path', '/'], /exclude each other/],
    [['--custom-header', 'none'], /colon was expected/],
    [['--custom-header', 'a b: c'], /no valid header/],
    [['--trusted-proxies', '10.0.0.0/33'], /10\.0\.0\.0\/33/],
    [['--wait-for-routes'], /CONFIGPROXY_AUTH_TOKEN/],
    [[...anyPorts, '--pid-file', '/nowhere/pid'], /--pid-file/],
    [[...anyPorts, '--access-log', '/nowhere/log'], /--access-log cannot be written: ENOENT/],
    [[...anyPorts, '--access-log', '/', '--workers', '2'], /--access-log/],
    [['--ip', '203.0.113.1'], /no address for 203\.0\.113\.1:8000/],
  ]
  for (const [flags, line] of cases) {
    const { status, stderr } = run(...flags)
    assert.equal(status, 1, flags.join(' '))
    assert.match(stderr, line)
    assert.match(stderr, /^portico-proxy: [^\n]+\n$/)
  }
})

test('a port in use ends it with one line, on either side', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.after(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  for (const flag of ['--port', '--api-port']) {
    const { status, stderr } = run(...anyPorts, flag, String(port))
    assert.equal(status, 1)
    assert.equal(stderr, `portico-proxy: 127.0.0.1:${port} is in use by another program\n`)
  }
})

test('without a token it says that its API is open', async (t) => {
  const open = await program(t, ['--default-target', 'http://127.0.0.1:9'], {
    CONFIGPROXY_AUTH_TOKEN: '',
  })
  assert.match(open.output(), /warn: CONFIGPROXY_AUTH_TOKEN is not set/)
  const routes = (await (await fetch(`${open.apiUrl}/api/routes`)).json()) as object
  assert.deepEqual(Object.keys(routes), ['/'])
})

test('its flags for headers take effect', async (t) => {
  await using target = await httpTarget()
  const flags = ['--default-target', target.url, '--custom-header', 'X-A: b:c', '--custom-header']
  const plain = await program(t, [...flags, 'x-d:e', '--no-x-forward'])
  const { headers } = await echoed(fetch(plain.url))
  assert.equal(headers['x-a'], 'b:c')
  assert.equal(headers['x-d'], 'e')
  assert.ok(!('x-forwarded-for' in headers))
})

test('front ends are trusted as told by flag or environment', async (t) => {
  await using target = await httpTarget()
  const flags = ['--default-target', target.url]
  const claim = { headers: { 'x-forwarded-for': '203.0.113.9' } }
  const trusting = await program(t, flags)
  const believed = await echoed(fetch(trusting.url, claim))
  assert.equal(believed.headers['x-forwarded-for'], '203.0.113.9,127.0.0.1')
  const env = { CONFIGPROXY_TRUSTED_PROXIES: '10.0.0.0/8, ::1' }
  const doubting = await program(t, flags, env)
  for (let i = 0; i < 2; i += 1) {
    const { headers } = await echoed(fetch(doubting.url, claim))
    assert.equal(headers['x-forwarded-for'], '127.0.0.1')
  }
  assert.equal(doubting.output().match(/--trusted-proxies/g)?.length, 1)
})

test('idle and silent connections end after the times of its flags', async (t) => {
  await using target = await rawTarget((socket) => void socket.resume())
  const flags = ['--default-target', target.url, '--timeout', '200', '--proxy-timeout', '5000']
  const { url } = await program(t, [...flags, '--keep-alive-timeout', '100'])
  using silent = rawClient(Number(new URL(url).port), 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  assert.equal(await silent.ended(), '')
})

test('writes its pid and takes it away, finishing what is under way', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pid-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'pid')
  writeFileSync(file, 'old')
  let finish: (() => void) | undefined
  await using target = await httpTarget((_request, response) => {
    response.write('begin ')
    finish = () => void response.end('end')
  })
  const { child, url } = await program(t, ['--default-target', target.url, '--pid-file', file])
  assert.equal(readFileSync(file, 'utf8'), `${child.pid}\n`)
  using client = rawClient(Number(new URL(url).port), 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/begin/)
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await until('it accepts no more', () => isClosed(`${url}/_chp_healthz`))
  finish?.()
  assert.match(await client.ended(), /begin[^]*end/)
  assert.deepEqual(await exited, [0, null])
  assert.ok(!existsSync(file))
})

test('a second SIGTERM leaves requests their time, a second SIGINT does not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pid-'))
  t.after(() => rmSync(folder, { recursive: true }))
  let finish = () => {}
  await using target = await httpTarget((_request, response) => {
    response.write('begin ')
    finish = () => void response.end('end')
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const file = join(folder, signal)
    const flags = ['--default-target', target.url, '--drain-timeout', '60000', '--pid-file', file]
    const { child, url, output } = await program(t, flags)
    using client = rawClient(Number(new URL(url).port), 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await client.until(/begin/)
    const exited = once(child, 'exit')
    child.kill(signal)
    await until('it drains', () => output().includes('finishing requests'))
    child.kill(signal)
    if (signal === 'SIGTERM') finish()
    assert.equal((await client.ended()).includes('end'), signal === 'SIGTERM')
    assert.deepEqual(await exited, [0, null])
    assert.ok(!existsSync(file))
  }
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} ends it within two seconds, whatever is open`, async (t) => {
    await using target = await rawTarget((socket) => {
      socket.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('Upgrade')) {
          socket.write('HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
        }
      })
    })
    const { child, url } = await program(t, ['--default-target', target.url])
    const port = Number(new URL(url).port)
    using webSocket = rawClient(port, handshake('/'))
    using hanging = rawClient(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await webSocket.until(/101/)
    await until('both have arrived', () => target.sockets.size === 2)
    const started = performance.now()
    child.kill(signal)
    assert.deepEqual(await once(child, 'exit'), [0, null])
    assert.ok(performance.now() - started < 2_000)
    await hanging.ended()
  })
}

test('waits for its first route when told so, and survives odd signals', async (t) => {
  const { child, url, apiUrl } = await program(t, ['--wait-for-routes'])
  child.kill('SIGHUP')
  child.kill('SIGUSR1')
  assert.equal((await fetch(url)).status, 503)
  await using target = await httpTarget()
  const body = { target: target.url }
  assert.equal((await callApi(apiUrl, 'POST', '/api/routes/x', body)).status, 201)
  assert.equal((await fetch(url)).status, 404)
  assert.equal((await fetch(`${url}/x`)).status, 200)
})

test('is small', async (t) => {
  const { child, apiUrl, url } = await program(t, [])
  const routes = Array.from({ length: 1_000 }, (_, i) => [`/user/u${i}`, { target: url }] as const)
  await callApi(apiUrl, 'PUT', '/api/routes', Object.fromEntries(routes))
  const pss = /^Pss: +(\d+)/m.exec(readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8'))?.[1]
  assert.ok(Number(pss) < 70 * 1024, `${pss} KiB`)
})

function isClosed(url: string): Promise<boolean> {
  return fetch(url).then(
    () => false,
    () => true,
  )
}
