import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFileSync, copyFileSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { testAuthority } from '../support/certificates.ts'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { ask } from './ask.ts'
import { freePorts, runProgram, startProgram } from './programs.ts'
import { get, httpTarget, rawClient, testProxy, token } from './support.ts'

const somewhere = 'http://127.0.0.1:9'
const name = 'portico-proxy'

it('takes new certificates on SIGHUP without dropping a connection', async (t) => {
  const folder = temporaryFolder(t)
  const authority = testAuthority(folder)
  const old = authority.issue('old', { days: 5 })
  const next = authority.issue('next', { days: 50 })
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  copyFileSync(old.key, key)
  copyFileSync(old.cert, cert)
  await using target = await httpTarget((_request, response) => void response.end('here'))
  const [metricsPort = 0] = await freePorts(1)
  const flags = ['--ssl-key', key, '--ssl-cert', cert, '--default-target', target.url]
  const metrics = ['--metrics-ip', '127.0.0.1', '--metrics-port', String(metricsPort)]
  const proxy = await startProgram(t, name, {
    flags: [...flags, ...metrics],
    schemes: ['https', 'http'],
  })
  assert.match(proxy.output(), /warn: the certificate of the public side ends in 4 days/)
  const ca = readFileSync(authority.ca)
  const kept = connectTls({ port: proxy.port, host: '127.0.0.1', ca })
  await once(kept, 'secureConnect')
  const served = async () => {
    const socket = connectTls({ port: proxy.port, host: '127.0.0.1', ca })
    await once(socket, 'secureConnect')
    const { CN } = socket.getPeerCertificate().subject
    socket.destroy()
    return CN
  }
  assert.equal(await served(), 'old')
  // In the middle of a renewal: the pair does not fit.
  copyFileSync(next.cert, cert)
  proxy.child.kill('SIGHUP')
  await until('it says so', () => /error: the old certificate stays: /.test(proxy.output()))
  assert.equal(await served(), 'old')
  copyFileSync(next.key, key)
  proxy.child.kill('SIGHUP')
  await until('the new one is there', async () => (await served()) === 'next')
  kept.write(get('/'))
  const [answer] = (await once(kept, 'data')) as [Buffer]
  assert.match(answer.toString(), /^HTTP\/1.1 200 /)
  kept.destroy()
  const { text } = await ask(`http://127.0.0.1:${metricsPort}/metrics`)
  assert.match(text, /^proxy_certificate_days_left{side="public"} 49$/m)
})

it('keeps its routes over a restart, also a sudden one, when told so', async (t) => {
  const file = join(temporaryFolder(t), 'routes')
  const flags = ['--persist-routes', file]
  const first = await startProgram(t, name, { flags })
  await first.route('/a b', somewhere, { user: 'ada' })
  await first.route('/gone', somewhere)
  await first.api('DELETE', '/api/routes/gone')
  await first.api('POST', '/api/routes/dead', { tombstone: { reason: 'crashed' } })
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  appendFileSync(file, '["/broken o')
  const second = await startProgram(t, name, { flags })
  const table = async (proxy: typeof second) =>
    (await (await proxy.api('GET', '/api/routes?tombstones=1')).json()) as Record<string, object>
  const kept = await table(second)
  assert.deepEqual(Object.keys(kept), ['/a b', '/dead'])
  assert.equal((kept['/a b'] as { user?: string }).user, 'ada')
  await second.api('PUT', '/api/routes', { '/x': { target: somewhere } })
  second.child.kill('SIGTERM')
  assert.deepEqual(await once(second.child, 'exit'), [0, null])
  const third = await startProgram(t, name, { flags })
  assert.deepEqual(Object.keys(await table(third)), ['/x'])
  const { status, stderr } = runProgram(name, ['--persist-routes', '/nowhere/routes'])
  assert.equal(status, 1)
  assert.match(stderr, /^portico-proxy: --persist-routes: [^\n]+\n$/)
})

it('keeps the activity of its routes over an orderly end; after a sudden one they count as used', async (t) => {
  const flags = ['--persist-routes', join(temporaryFolder(t), 'routes')]
  const activity = async (proxy: Awaited<ReturnType<typeof startProgram>>) => {
    const record = await (await proxy.api('GET', '/api/routes/a')).json()
    return Date.parse((record as { last_activity: string }).last_activity)
  }
  for (const workers of ['1', '2']) {
    const first = await startProgram(t, name, { flags: [...flags, '--workers', workers] })
    await first.route('/a', somewhere)
    const before = await activity(first)
    first.child.kill('SIGTERM')
    assert.deepEqual(await once(first.child, 'exit'), [0, null])
    const second = await startProgram(t, name, { flags: [...flags, '--workers', workers] })
    assert.equal(await activity(second), before)
    second.child.kill('SIGKILL')
    await once(second.child, 'exit')
    const third = await startProgram(t, name, { flags })
    assert.ok((await activity(third)) > before)
    third.child.kill('SIGTERM')
    await once(third.child, 'exit')
  }
})

it('forgets its routes without that', async (t) => {
  const first = await startProgram(t, name)
  await first.route('/a', somewhere)
  first.child.kill('SIGTERM')
  await once(first.child, 'exit')
  const second = await startProgram(t, name)
  assert.deepEqual(await (await second.api('GET', '/api/routes')).json(), {})
})

it('writes one line of JSON per request, into a file that may be moved away', async (t) => {
  const folder = temporaryFolder(t)
  const file = join(folder, 'access')
  await using target = await httpTarget((_request, response) => void response.end('body'))
  const flags = ['--access-log', file, '--default-target', target.url]
  const proxy = await startProgram(t, name, { flags })
  const headers = { 'x-forwarded-for': '192.0.2.7, 127.0.0.1' }
  await ask(`${proxy.url}/a?token=secret`, { headers })
  await ask(`${proxy.url}/%zz`)
  const lines = (path: string) =>
    until('they are written', () => {
      const text = readFileSync(path, 'utf8')
      return text.endsWith('\n') && text.trim().split('\n').length === 2 && text
    })
  const [first, second] = (await lines(file))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const { time, bytes, duration_ms: duration, ...rest } = first ?? {}
  assert.deepEqual(rest, {
    client: '192.0.2.7',
    method: 'GET',
    path: '/a',
    status: 200,
    route: '/',
  })
  assert.ok(Number(bytes) > 50 && Number(duration) >= 0 && !Number.isNaN(Date.parse(String(time))))
  assert.equal(second?.['status'], 400)
  renameSync(file, `${file}.1`)
  proxy.child.kill('SIGHUP')
  await until('it has opened another one', () => /SIGHUP/.test(proxy.output()))
  await ask(`${proxy.url}/later`)
  await until('it is there', () => /later/.test(readFileSync(file, 'utf8')))
})

it('drains for as long as it is told', async (t) => {
  await using target = await httpTarget(() => {})
  const flags = ['--default-target', target.url, '--drain-timeout', '100']
  const proxy = await startProgram(t, name, { flags })
  using client = rawClient(proxy.port, get('/'))
  await until('the request is there', () => target.sockets.size > 0)
  const started = performance.now()
  proxy.child.kill('SIGTERM')
  assert.deepEqual(await once(proxy.child, 'exit'), [0, null])
  assert.ok(performance.now() - started < 1_400)
  await client.ended()
})

it('says with its last answers that the connection ends', async (t) => {
  let finish = () => {}
  await using target = await httpTarget((_request, response) => {
    finish = () => void response.end('done')
  })
  const flags = ['--default-target', target.url, '--drain-timeout', '20000']
  const proxy = await startProgram(t, name, { flags })
  using client = rawClient(proxy.port, get('/'))
  await until('the request is there', () => target.sockets.size > 0)
  proxy.child.kill('SIGTERM')
  await until('it drains', () => /finishing requests/.test(proxy.output()))
  finish()
  assert.match(await client.ended(), /\r\nConnection: close\r\n[^]*done$/)
})

it('bounds what one client and one route may take', async () => {
  let finish = () => {}
  await using target = await httpTarget((request, response) => {
    if (request.url === '/fast/x') return void response.end('now')
    finish = () => void response.end('done')
  })
  const base = { clientConcurrency: 0, clientRate: 0, routeConcurrency: 0 }
  const cases = [
    { limits: { ...base, clientConcurrency: 1 }, free: { 'x-forwarded-for': '192.0.2.1' } },
    { limits: { ...base, routeConcurrency: 1 }, free: {} },
  ]
  for (const { limits, free } of cases) {
    await using proxy = await testProxy({ limits })
    await proxy.route('/slow', target.url)
    await proxy.route('/fast', target.url)
    const waiting = ask(`${proxy.url}/slow`)
    const refused = await until('it is full', async () => {
      const answer = await ask(`${proxy.url}/slow`, {
        headers: { accept: 'application/json' },
        signal: AbortSignal.timeout(100),
      }).catch(() => null)
      return answer?.status === 429 && answer
    })
    assert.equal(refused.headers['retry-after'], '1')
    assert.equal((await ask(`${proxy.url}/fast/x`, { headers: free })).status, 200)
    const socket = new WebSocket(`${proxy.url.replace('http', 'ws')}/slow`)
    const [error] = (await once(socket, 'error')) as [Error]
    assert.match(error.message, /429/)
    finish()
    assert.equal((await waiting).text, 'done')
    assert.equal((await ask(`${proxy.url}/fast/x`)).status, 200)
  }
  await using proxy = await testProxy({ limits: { ...base, clientRate: 3 } })
  await proxy.route('/fast', target.url)
  const answers = await Promise.all(Array.from({ length: 9 }, () => ask(`${proxy.url}/fast/x`)))
  const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b)
  assert.deepEqual([statuses[0], statuses.at(-1)], [200, 429])
})

it('lists a part of the table, and all of it while traffic goes on', async () => {
  await using target = await httpTarget((_request, response) => void response.end('here'))
  await using proxy = await testProxy()
  const routes = Array.from({ length: 30_000 }, (_, i) => [`/user/u${i}`, { target: somewhere }])
  const whole = Object.fromEntries([...routes, ['/here', { target: target.url }]]) as object
  assert.equal((await proxy.api('PUT', '/api/routes', whole)).status, 204)
  const part = async (query: string) =>
    Object.keys((await (await proxy.api('GET', `/api/routes?${query}`)).json()) as object)
  assert.deepEqual(await part('offset=7&limit=2'), ['/user/u7', '/user/u8'])
  assert.deepEqual(await part('offset=30000'), ['/here'])
  assert.deepEqual(await part('limit=0'), [])
  assert.equal((await proxy.api('GET', '/api/routes?limit=x')).status, 400)
  let isListed = false
  const listing = ask(`http://127.0.0.1:${proxy.apiPort}/api/routes`, {
    headers: { authorization: `token ${token}` },
  }).finally(() => (isListed = true))
  let served = 0
  while (!isListed) {
    assert.equal((await ask(`${proxy.url}/here`)).text, 'here')
    served += 1
  }
  assert.ok(served > 5, `${served} requests meanwhile`)
  assert.equal(Object.keys(JSON.parse((await listing).text) as object).length, 30_001)
})
