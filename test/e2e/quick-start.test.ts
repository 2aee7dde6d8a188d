import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import type { Page } from 'playwright-core'
import { programPath } from '../../packages/process/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { freePorts } from '../support/start-hub.ts'
import { until } from '../support/until.ts'
import { Chromium, shoot, step, skipWithoutChromium as skip } from './chromium.ts'

interface QuickStart {
  readonly program: ChildProcess
  readonly origin: string
  readonly home: string
  /** Texts that stand in the command line or environment of each of its processes. */
  readonly marks: readonly string[]
  /** What it has printed so far. */
  readonly output: () => string
}

async function startProgram(folder: string): Promise<QuickStart> {
  const [port = 0, internal = 0, api = 0] = await freePorts(3)
  const home = join(folder, 'home')
  mkdirSync(home)
  const [node, main] = programPath('hub/main')
  const flags = ['--data-dir', join(folder, 'data'), '--port', String(port)]
  const hubUrl = `http://127.0.0.1:${internal}`
  for (const option of [
    `hub.hubBindUrl=${hubUrl}`,
    `proxy.apiUrl=http://127.0.0.1:${api}`,
    `spawner.homeDir=${home}`,
  ])
    flags.push('--set', option)
  const program = spawn(node, [main, ...flags], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [program.stdout, program.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  return {
    program,
    origin: `http://127.0.0.1:${port}`,
    home,
    marks: [folder, hubUrl],
    output: () => output,
  }
}

/** Every process whose command line or environment holds one of the marks. */
function processesOf(marks: readonly string[]): readonly number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== process.pid && marks.some((mark) => textOf(pid).includes(mark)))
}

function textOf(pid: number): string {
  try {
    const files = ['cmdline', 'environ'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8'))
    return files.join('\0')
  } catch {
    return ''
  }
}

async function isFree(origin: string): Promise<boolean> {
  const { port } = new URL(origin)
  const socket = connect(Number(port), '127.0.0.1')
  const isTaken = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return !isTaken
}

async function useTerminal(page: Page): Promise<void> {
  await page.click('a[data-view=terminals]')
  await page.locator('.xterm-rows', { hasText: /\S/ }).waitFor()
  await page.keyboard.type("echo por''tico-$((6*7))\n")
  await page.locator('.xterm-rows', { hasText: 'portico-42' }).waitFor()
  await shoot(page, 'server-terminal')
}

async function useFiles(page: Page, home: string): Promise<void> {
  await page.click('a[data-view=files]')
  const buffer = Buffer.from('first line\n')
  await page.setInputFiles('input[type=file]', {
    name: 'notes.txt',
    mimeType: 'text/plain',
    buffer,
  })
  await page.locator('a.entry', { hasText: 'notes.txt' }).waitFor()
  assert.equal(readFileSync(join(home, 'notes.txt'), 'utf8'), 'first line\n')
  await shoot(page, 'server-files')

  await page.click('a.entry:has-text("notes.txt")')
  await page.locator('textarea').waitFor()
  await page.keyboard.type('edited: ')
  await page.keyboard.press('Control+s')
  await page.getByText('Saved', { exact: true }).waitFor()
  assert.equal(readFileSync(join(home, 'notes.txt'), 'utf8'), 'edited: first line\n')
  await shoot(page, 'server-editor')

  const downloading = page.waitForEvent('download')
  await page.click('a:has-text("Download")')
  const file = await (await downloading).path()
  assert.equal(readFileSync(file, 'utf8'), 'edited: first line\n')
}

it('a quick start leads from the printed link to work, and ends whole', { skip }, async (t) => {
  const folder = temporaryFolder(t)
  const { program, origin, home, marks, output } = await startProgram(folder)
  t.after(() => {
    program.kill('SIGKILL')
    for (const pid of processesOf(marks)) process.kill(pid, 'SIGKILL')
  })
  const [link] = await until('the link is printed', () => /http\S+#\S+/.exec(output()), 30_000)
  await using chromium = await Chromium.launch()
  const page = await chromium.visitor()

  await step(t, page, 'the link logs in, starts the server and arrives there', async () => {
    await page.goto(link)
    await page.waitForURL((url) => url.pathname.startsWith('/user/'))
    await page.locator('.view').waitFor()
    assert.equal(await page.locator('.brand').innerText(), userInfo().username)
  })

  await step(t, page, 'a command echoes in the terminal', () => useTerminal(page))

  await step(t, page, 'a file is uploaded, edited and downloaded', () => useFiles(page, home))

  await step(t, page, 'the server stops from the home page after a question', async () => {
    await page.click('a:has-text("Hub home")')
    await shoot(page, 'home-running')
    await page.click('#stop')
    await page.locator('dialog[open]').waitFor()
    await shoot(page, 'home-stop-dialog')
    await page.click('dialog button[value=cancel]')
    assert.equal(await page.getAttribute('.server', 'data-state'), 'ready')
    await page.click('#stop')
    await page.click('#stop-confirm')
    await page.locator('.server[data-state=stopped]').waitFor()
    await shoot(page, 'home-stopped')
  })

  await step(t, page, 'logs out, and the used link does not work again', async () => {
    await page.click('#start')
    await page.waitForURL((url) => url.pathname.startsWith('/user/'))
    await page.click('a:has-text("Log out")')
    await page.waitForURL('**/hub/login')
    await shoot(page, 'quick-start-login')
    await page.goBack()
    assert.equal(await page.locator('#logout').count(), 0)
    await page.goto(link)
    await page.locator('#login_error', { hasText: 'used up' }).waitFor()
    await shoot(page, 'quick-start-link-used')
  })

  await step(t, page, 'Ctrl-C ends everything', async () => {
    assert.equal(processesOf(marks).length, 3, 'hub, proxy and server run')
    program.kill('SIGINT')
    await once(program, 'exit', { signal: AbortSignal.timeout(30_000) })
    assert.equal(program.exitCode, 0, output())
    await until('no process is left', () => processesOf(marks).length === 0, 30_000)
    assert.ok(await isFree(origin), `${origin} is free again`)
  })

  chromium.assertNoComplaints()
})
