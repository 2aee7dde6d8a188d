import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { singleUserFromEnv } from '../../packages/singleuser/config.ts'
import { startSingleUser } from '../../packages/singleuser/server.ts'
import { Terminals } from '../../packages/singleuser/terminals.ts'
import {
  Browser,
  HubStandIn,
  serverEnvironment,
  startSingleUserProgram,
} from '../support/hub-stand-in.ts'
import { until } from '../support/until.ts'

/** One end of a terminal, as the page has it. */
class Screen {
  readonly socket: WebSocket
  output = ''
  messages: unknown[][] = []

  constructor(url: string, headers: Record<string, string>) {
    this.socket = new WebSocket(url.replace('http:', 'ws:'), { headers })
    this.socket.on('error', () => {})
    this.socket.on('message', (data: Buffer) => {
      const message = Object(JSON.parse(data.toString()))
      this.messages.push(message)
      if (message[0] === 'stdout') this.output += message[1]
    })
  }

  async opened(): Promise<this> {
    await once(this.socket, 'open')
    return this
  }

  send(...message: unknown[]): void {
    this.socket.send(JSON.stringify(message))
  }

  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    return until(`the screen shows ${pattern}`, () => pattern.exec(this.output))
  }
}

describe('terminals of the single-user server', () => {
  let folder: string
  let hub: HubStandIn
  let server: Awaited<ReturnType<typeof startSingleUserProgram>>
  let headers: { authorization: string }
  const screens: Screen[] = []

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'portico-terminal-'))
    hub = await HubStandIn.start()
    server = await startSingleUserProgram(hub, 'ada', folder)
    headers = { authorization: `token ${hub.issueToken('ada', ['access:servers'])}` }
  })

  afterEach(async () => {
    for (const screen of screens.splice(0)) screen.socket.terminate()
    for (const { name } of await list()) await call('DELETE', `/${name}`)
  })

  after(async () => {
    await server[Symbol.asyncDispose]()
    await hub[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const call = (method: string, path = ''): Promise<Response> =>
    fetch(`${hub.url}/user/ada/api/terminals${path}`, { method, headers })

  async function list(): Promise<{ name: string }[]> {
    return Object(await (await call('GET')).json())
  }

  async function create(): Promise<string> {
    const reply = await call('POST')
    assert.equal(reply.status, 201)
    return Object(await reply.json()).name
  }

  function attach(name: string, own: Record<string, string> = headers): Screen {
    const screen = new Screen(`${hub.url}/user/ada/terminals/websocket/${name}`, own)
    screens.push(screen)
    return screen
  }

  async function statusOf(screen: Screen): Promise<number> {
    const [, reply] = await once(screen.socket, 'unexpected-response')
    return Object(reply).statusCode
  }

  it('echoes what a command prints', async () => {
    const screen = await attach(await create()).opened()
    screen.send('stdin', 'echo $((6*7))-answer; pwd\r')
    await screen.shows(/42-answer/)
    await screen.shows(new RegExp(folder))
  })

  it('gives the shell the size of the screen', async () => {
    const screen = await attach(await create()).opened()
    screen.send('set_size', 33, 111)
    screen.send('stdin', 'stty size\r')
    await screen.shows(/33 111/)
    for (const bad of [0, -1, 1e9, 'x', null, 1.5]) screen.send('set_size', bad, 80)
    screen.send('stdin', 'echo still "here"\r')
    await screen.shows(/still here/)
  })

  it('lives on without a watcher and shows a new one what it missed', async () => {
    const name = await create()
    const first = await attach(name).opened()
    first.send('stdin', 'echo before-"reload"\r')
    await first.shows(/before-reload/)
    first.socket.close()
    await once(first.socket, 'close')
    assert.deepEqual(
      (await list()).map((terminal) => terminal.name),
      [name],
    )
    const second = await attach(name).opened()
    await second.shows(/before-reload/)
    assert.deepEqual(second.messages[0], ['setup', { replay: true }])
  })

  it('keeps only the last of very much output', async () => {
    const name = await create()
    const first = await attach(name).opened()
    first.send('stdin', 'seq 400000; echo all-"done"\r')
    await first.shows(/all-done/)
    const second = await attach(name).opened()
    await second.shows(/all-done/)
    assert.ok(second.output.length <= 330 * 1024, String(second.output.length))
    assert.match(second.output, /^\d+\r\n/)
  })

  it('shows the same to everybody attached', async () => {
    const name = await create()
    const [first, second] = [await attach(name).opened(), await attach(name).opened()]
    first.send('stdin', 'echo for-"both"\r')
    await Promise.all([first.shows(/for-both/), second.shows(/for-both/)])
  })

  it('ends when the shell exits', async () => {
    const screen = await attach(await create()).opened()
    screen.send('stdin', 'exit\r')
    const [code] = await once(screen.socket, 'close')
    assert.equal(code, 1000)
    assert.deepEqual(screen.messages.at(-1), ['disconnect', 1])
    assert.deepEqual(await list(), [])
  })

  it('ends when it is closed, also a shell that ignores the hangup', async () => {
    const name = await create()
    const screen = await attach(name).opened()
    screen.send('stdin', 'trap "" HUP; echo trap-"set"\r')
    await screen.shows(/trap-set/)
    assert.equal((await call('DELETE', `/${name}`)).status, 204)
    assert.deepEqual(await list(), [])
    assert.equal((await call('DELETE', `/${name}`)).status, 404)
    assert.equal(await statusOf(attach(name)), 404)
  })

  it('opens sixteen and no more', async () => {
    for (let count = 0; count < 16; count++) await create()
    assert.equal((await call('POST')).status, 429)
  })

  it('survives messages that mean nothing', async () => {
    const screen = await attach(await create()).opened()
    for (const text of ['', 'x', '{}', '[]', '["stdin"]', '["stdin",7]', '["nothing"]', 'null']) {
      screen.socket.send(text)
    }
    screen.socket.send(Buffer.from([0xff, 0x00]))
    screen.send('stdin', 'echo still "here"\r')
    await screen.shows(/still here/)
  })

  it('lets a browser attach from our own origin only', async () => {
    const name = await create()
    const browser = new Browser(hub.url)
    await browser.fetch('/hub/login?user=ada')
    await browser.open('/user/ada/')
    const cookie = browser.cookiesFor('/user/ada/')
    await attach(name, { cookie, origin: hub.url }).opened()
    for (const own of [
      { cookie },
      { cookie, origin: 'http://evil.example' },
      { cookie, origin: `${hub.url}.evil.example` },
      { cookie, origin: `${hub.url}0` },
      { cookie, origin: 'null' },
      { origin: hub.url },
      { authorization: 'token nobody' },
    ]) {
      assert.equal(await statusOf(attach(name, { ...own })), 403, JSON.stringify(own))
    }
  })

  it('refuses WebSockets that are not terminals', async () => {
    for (const path of ['', '__proto__', '1/2', '../1']) {
      assert.equal(await statusOf(attach(path)), 404, path)
    }
  })

  it('closes when its user has lost access', async (context) => {
    const env = { ...serverEnvironment(hub, 'eve'), HOME: folder }
    await using own = await startSingleUser(singleUserFromEnv(env, folder), () => {})
    const token = hub.issueToken('eve', ['access:servers'], 'session-of-eve')
    const authorization = { authorization: `token ${token}` }
    const url = `http://127.0.0.1:${own.port}/user/eve`
    await fetch(`${url}/api/terminals`, { method: 'POST', headers: authorization })
    const screen = new Screen(`${url}/terminals/websocket/1`, authorization)
    screens.push(await screen.opened())
    screen.send('stdin', 'echo be"fore"\r')
    await screen.shows(/before/)
    hub.logOut('session-of-eve')
    const now = performance.now()
    context.mock.method(performance, 'now', () => now + 10_001)
    screen.send('stdin', 'echo af"ter"\r')
    const [code] = await once(screen.socket, 'close')
    assert.equal(code, 4403)
    assert.doesNotMatch(screen.output, /after/)
  })

  it('says why there is none without node-pty', async () => {
    const load = (): Promise<never> => Promise.reject(new Error("Cannot find package 'node-pty'"))
    const terminals = new Terminals({ env: {}, cwd: folder, load })
    assert.match(await terminals.problem(), /node-pty is not usable.*Cannot find package/)
    await assert.rejects(terminals.create(), { code: 'unavailable' })
  })
})
