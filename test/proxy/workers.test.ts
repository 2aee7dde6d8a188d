import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { ask } from './ask.ts'
import { freePorts, runProgram, startProgram } from './programs.ts'
import { httpTarget, rawClient, get } from './support.ts'

const name = 'portico-proxy'

function childrenOf(pid: number | undefined): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ').map(Number)
}

it('serves one port with several processes, all with the same table', async (t) => {
  await using target = await httpTarget((_request, response) => void response.end('here'))
  const [metricsPort = 0] = await freePorts(1)
  const metrics = ['--metrics-ip', '127.0.0.1', '--metrics-port', `${metricsPort}`]
  const flags = ['--workers', '2', '--drain-timeout', '20000', ...metrics]
  const proxy = await startProgram(t, name, { flags })
  assert.equal(childrenOf(proxy.child.pid).length, 2)

  await t.test('a route that was added is there for every new connection', async () => {
    for (let i = 0; i < 20; i += 1) {
      await proxy.route(`/user/u${i}`, target.url)
      const answers = await Promise.all([1, 2, 3, 4].map(() => ask(`${proxy.url}/user/u${i}`)))
      assert.deepEqual(
        answers.map(({ text }) => text),
        ['here', 'here', 'here', 'here'],
      )
    }
    await proxy.api('DELETE', '/api/routes/user/u0')
    const gone = await Promise.all([1, 2, 3, 4].map(() => ask(`${proxy.url}/user/u0`)))
    assert.deepEqual(
      gone.map(({ status }) => status),
      [404, 404, 404, 404],
    )
  })

  await t.test('a whole table reaches them all before its answer', async () => {
    const before = (await (await proxy.api('GET', '/api/routes')).json()) as object
    const many = Array.from({ length: 5_000 }, (_each, i) => [`/t/${i}`, { target: target.url }])
    const whole = { ...before, ...(Object.fromEntries(many) as object) }
    assert.equal((await proxy.api('PUT', '/api/routes', whole)).status, 204)
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask(`${proxy.url}/t/4999`)))
    assert.ok(answers.every(({ text }) => text === 'here'))
    assert.equal((await proxy.api('PUT', '/api/routes', before)).status, 204)
  })

  await t.test('activity and numbers of all are told by one', async () => {
    const activity = async () => {
      const record = await (await proxy.api('GET', '/api/routes/user/u1')).json()
      return Date.parse((record as { last_activity: string }).last_activity)
    }
    const before = await activity()
    await until('the clock has moved', () => Date.now() > before)
    await ask(`${proxy.url}/user/u1`)
    assert.ok((await activity()) > before)
    const { text } = await ask(`http://127.0.0.1:${metricsPort}/metrics`)
    assert.match(text, /^requests_web 89$/m)
    assert.match(text, /^api_route_add 20$/m)
    assert.match(text, /^proxy_routes 19$/m)
  })

  await t.test(
    'one that dies is replaced, with the whole table, and leaves nobody waiting',
    async () => {
      const [first = 0] = childrenOf(proxy.child.pid)
      assert.ok(first > 1)
      process.kill(first, 'SIGSTOP')
      const request = get('/user/u5', 'Connection: close')
      const clients = Array.from({ length: 4 }, () => rawClient(proxy.port, request))
      await Promise.any(clients.map((client) => client.ended()))
      process.kill(first, 'SIGKILL')
      await Promise.all(clients.map((client) => client.ended()))
      await until('another one is there', () => {
        const children = childrenOf(proxy.child.pid)
        return children.length === 2 && !children.includes(first)
      })
      await proxy.route('/later', target.url)
      for (const path of ['/later', '/user/u5']) {
        const answers = await Promise.all(
          Array.from({ length: 6 }, () => ask(`${proxy.url}${path}`)),
        )
        assert.ok(answers.every(({ text }) => text === 'here'))
      }
    },
  )

  await t.test('all end together, requests first', async () => {
    let finish = () => {}
    await using slow = await httpTarget((_request, response) => {
      response.write('begin ')
      finish = () => void response.end('end')
    })
    await proxy.route('/slow', slow.url)
    using client = rawClient(proxy.port, get('/slow'))
    await client.until(/begin/)
    const children = childrenOf(proxy.child.pid)
    const exited = once(proxy.child, 'exit')
    proxy.child.kill('SIGTERM')
    await until('it accepts no more', () =>
      ask(`${proxy.url}/later`, { signal: AbortSignal.timeout(1_000) }).then(
        () => false,
        () => true,
      ),
    )
    finish()
    assert.match(await client.ended(), /begin[^]*end/)
    assert.deepEqual(await exited, [0, null])
    await until('no worker is left', () => children.every((pid) => !isAlive(pid)))
  })
})

it('takes a socket file over that nobody listens on, with several processes', async (t) => {
  const socket = join(temporaryFolder(t), 'public')
  const [apiPort = 0] = await freePorts(1)
  const flags = ['--socket', socket, '--api-ip', '127.0.0.1', '--api-port', `${apiPort}`]
  const options = { flags: [...flags, '--workers', '2'], withPorts: false }
  const first = await startProgram(t, name, options)
  const busy = runProgram(name, ['--socket', socket, '--workers', '2'])
  assert.equal(busy.stderr, `portico-proxy: ${socket} is in use by another program\n`)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  await startProgram(t, name, options)
  assert.equal((await ask('http://localhost/x', { socketPath: socket })).status, 404)
})

it('workers end with their main process', async (t) => {
  const proxy = await startProgram(t, name, { flags: ['--workers', '2'] })
  const children = childrenOf(proxy.child.pid)
  proxy.child.kill('SIGKILL')
  await until('no worker is left', () => children.every((pid) => !isAlive(pid)))
})

it('says what hinders its workers in one line', async (t) => {
  const proxy = await startProgram(t, name)
  const flags = ['--workers', '2', '--ip', '127.0.0.1', '--port', String(proxy.port)]
  const { status, stderr } = runProgram(name, flags)
  assert.equal(status, 1)
  assert.equal(stderr, `portico-proxy: 127.0.0.1:${proxy.port} is in use by another program\n`)
})

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
