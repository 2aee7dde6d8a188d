import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { ServerContext, Spawner } from 'portico/spawner'
import { simple } from '../../spawners/simple.ts'
import { processSpawnerContract } from '../contracts/process-spawner.ts'
import { isStartFailed, spawnerContract } from '../contracts/spawner.ts'
import { recordedContext } from '../support/server-context.ts'

const server = join(import.meta.dirname, '../support/single-user.mjs')
const graces = { interruptTimeout: 0.1, termTimeout: 0.1 }
const folder = mkdtempSync(join(tmpdir(), 'portico-simple-'))
after(() => rmSync(folder, { recursive: true }))

function create(options: object, context: ServerContext): Spawner {
  const defaults = { cmd: [process.execPath, server], allowRoot: true, homeDir: folder, ...graces }
  return simple.create(simple.config.parse({ ...defaults, ...options }), context)
}

spawnerContract('simple', { create: (context, args) => create({ args }, context) })
processSpawnerContract('simple', { create: (context, options) => create(options, context) })

describe('simple', () => {
  const isRoot = process.getuid?.() === 0

  it(
    'does not run as root unless it is allowed to',
    { skip: !isRoot && 'needs root' },
    async (t) => {
      assert.throws(() => simple.check?.(simple.config.parse({})), /allowRoot/)
      simple.check?.(simple.config.parse({ allowRoot: true }))
      const context = recordedContext(t)
      const start = create({ allowRoot: false }, context).start(AbortSignal.timeout(5_000))
      await assert.rejects(start, isStartFailed('permission-denied'))
      assert.equal(context.saved, null)
    },
  )

  it('makes a private home of the name, which cannot leave its folder', async (t) => {
    const context = recordedContext(t, { userName: '../..' })
    const spawner = create({ homeDir: join(folder, 'homes/{username}'), cmd: 'pwd' }, context)
    await assert.rejects(spawner.start(AbortSignal.timeout(5_000)), isStartFailed('exited'))
    const home = join(folder, 'homes', '%2E%2E%2F..')
    assert.deepEqual(await spawner.tail?.(1), [home])
    assert.equal(statSync(home).mode & 0o777, 0o700)
  })

  it('does not use a home that is a link', async (t) => {
    symlinkSync('/', join(folder, 'ada'))
    const spawner = create({ homeDir: join(folder, '{username}') }, recordedContext(t))
    await assert.rejects(spawner.start(AbortSignal.timeout(5_000)), isStartFailed('home-missing'))
  })

  it('prefers jupyterhub-singleuser on the PATH of the server, with --allow-root as root', async (t) => {
    const program = join(folder, 'jupyterhub-singleuser')
    writeFileSync(program, '#!/bin/sh\necho "$0 $*"\n')
    chmodSync(program, 0o755)
    const env = () => ({ PATH: `${folder}:/usr/bin:/bin` })
    const spawner = create({ cmd: undefined, args: ['--debug'] }, recordedContext(t, { env }))
    await assert.rejects(spawner.start(AbortSignal.timeout(5_000)), isStartFailed('exited'))
    const flag = isRoot ? '--allow-root ' : ''
    assert.deepEqual(await spawner.tail?.(1), [`${program} ${flag}--debug`])
  })

  it('falls back to the embedded server', async (t) => {
    const context = recordedContext(t, { env: () => ({ PATH: '/nowhere' }) })
    const controller = new AbortController()
    const spawner = create({ cmd: undefined }, context)
    const start = spawner.start(controller.signal)
    controller.abort()
    await assert.rejects(start)
    assert.equal(context.messages[0], 'Starting the embedded server')
  })

  it('takes a command as text or as a list, and refuses empty ones and bad addresses', () => {
    const parse = (options: object) => simple.config.safeParse(options).success
    assert.equal(parse({ cmd: 'x' }) && parse({ cmd: ['x', ''] }) && parse({ ip: '::1' }), true)
    for (const bad of [
      { cmd: '' },
      { cmd: [] },
      { ip: 'localhost' },
      { port: -1 },
      { homeDir: 'a' },
    ]) {
      assert.equal(parse(bad), false)
    }
  })

  for (const [ip, hostname] of [
    ['::1', '[::1]'],
    ['0.0.0.0', '127.0.0.1'],
    ['::', '[::1]'],
  ] as const) {
    it(`is reached at ${hostname} when it listens on ${ip}`, async (t) => {
      const spawner = create({ ip }, recordedContext(t))
      const url = await spawner.start(AbortSignal.timeout(5_000))
      assert.equal(url.hostname, hostname)
      assert.equal((await fetch(new URL('/user/ada/', url))).status, 200)
      await spawner.stop({ now: true })
    })
  }
})
