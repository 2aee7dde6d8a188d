import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { ServerContext, Spawner } from 'portico/spawner'
import { local } from '../../spawners/local.ts'
import { identityIn, processSpawnerContract } from '../contracts/process-spawner.ts'
import { isStartFailed, spawnerContract } from '../contracts/spawner.ts'
import { recordedContext } from '../support/server-context.ts'
import { type TestAccount, createTestAccount } from '../support/test-account.ts'

const skip = process.getuid?.() !== 0 && 'starts servers as another account, so it needs root'
const userName = 'portico-test-local'
const graces = { interruptTimeout: 0.1, termTimeout: 0.1 }
/** A copy that the account can read wherever the working tree lies. */
const folder = mkdtempSync(join(tmpdir(), 'portico-local-'))
const server = join(folder, 'single-user.mjs')

function create(options: object, context: ServerContext): Spawner {
  const defaults = { cmd: [process.execPath, server], ...graces }
  return local.create(local.config.parse({ ...defaults, ...options }), context)
}

describe('with a real account', { skip }, () => {
  let account: TestAccount

  before(() => {
    account = createTestAccount(userName)
    chmodSync(folder, 0o755)
    copyFileSync(join(import.meta.dirname, '../support/single-user.mjs'), server)
  })
  after(() => {
    account.remove()
    rmSync(folder, { recursive: true })
  })

  spawnerContract('local', { userName, create: (context, args) => create({ args }, context) })
  processSpawnerContract('local', {
    userName,
    create: (context, options) => create(options, context),
  })

  describe('local', () => {
    it('runs the server as the account, with its groups and nothing of ours', async (t) => {
      const { pid } = await started(t)
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*?)\\s*$`, 'm').exec(status)?.[1]
      const { uid, gid, extraGroup } = account
      assert.equal(field('Uid'), [uid, uid, uid, uid].join('\t'))
      assert.equal(field('Gid'), [gid, gid, gid, gid].join('\t'))
      const groups = field('Groups')?.split(' ').map(Number)
      assert.deepEqual(new Set(groups), new Set([extraGroup, gid]))
      assert.equal(field('Umask'), '0077')
      assert.equal(field('NoNewPrivs'), '1')
      for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'])
        assert.match(field(set) ?? '', /^0+$/)
    })

    it('gives it its home, its environment and its log, and no other descriptor of ours', async (t) => {
      const { pid, context } = await started(t)
      assert.equal(readlinkSync(`/proc/${pid}/cwd`), account.home)
      const found = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean)
      const own = { USER: userName, LOGNAME: userName, HOME: account.home, SHELL: '/bin/sh' }
      const bind = new URL(`http://127.0.0.1:${portIn(context.saved)}`)
      const wanted = Object.entries({ ...context.env(bind), ...own }).map((pair) => pair.join('='))
      assert.deepEqual(found.toSorted(), wanted.toSorted())
      const descriptors = readdirSync(`/proc/${pid}/fd`).map(Number)
      const target = (descriptor: number) => readlinkSync(`/proc/${pid}/fd/${descriptor}`)
      const { logFile } = context
      assert.deepEqual([0, 1, 2].map(target), ['/dev/null', logFile, logFile])
      const others = descriptors.filter((descriptor) => descriptor > 2).map(target)
      const files = others.filter((link) => link.startsWith('/') && !link.startsWith('/dev/'))
      assert.deepEqual(files, [])
    })

    it('puts no secret on the command line', async (t) => {
      const { pid, context } = await started(t)
      const token = context.env(new URL('http://127.0.0.1:1'))['JUPYTERHUB_API_TOKEN'] ?? ''
      assert.ok(token)
      assert.equal(readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(token), false)
    })

    it('loads nothing that the environment of the server names while it is root', async (t) => {
      const library = join(folder, 'no-such-library.so')
      const base = recordedContext(t, { userName })
      const env = (bind: URL) => ({ ...base.env(bind), LD_PRELOAD: library })
      const context = recordedContext(t, { userName, env })
      const spawner = create({}, context)
      await spawner.start(AbortSignal.timeout(10_000))
      await spawner.stop({ now: true })
      const complaints = (await spawner.tail?.(50))?.filter((line) => line.includes(library))
      assert.equal(complaints?.length, 1)
    })

    it('does not choose a jupyterhub-singleuser that only root may execute', async (t) => {
      const path = join(folder, 'jupyterhub-singleuser')
      copyFileSync('/bin/true', path)
      chmodSync(path, 0o700)
      const controller = new AbortController()
      const context = recordedContext(t, { userName, env: () => ({ PATH: folder }) })
      const start = create({ cmd: undefined }, context).start(controller.signal)
      controller.abort()
      await assert.rejects(start)
      assert.deepEqual(context.messages, ['Starting the embedded server'])
    })

    it('says that the home is missing', async (t) => {
      const away = `${account.home}.away`
      renameSync(account.home, away)
      t.after(() => renameSync(away, account.home))
      const context = recordedContext(t, { userName })
      const start = create({}, context).start(AbortSignal.timeout(5_000))
      await assert.rejects(start, isStartFailed('home-missing'))
      assert.equal(context.saved, null)
    })

    it('does not follow a link that the account planted for the log', async (t) => {
      const context = recordedContext(t, { userName })
      execFileSync('ln', ['-s', '/etc/portico-planted', context.logFile])
      await assert.rejects(create({}, context).start(AbortSignal.timeout(5_000)), { code: 'ELOOP' })
    })

    for (const name of [
      'root',
      'daemon',
      '0',
      '-x',
      '--help',
      'no:such',
      '',
      'Portico-Test-Local',
      'a\nb',
    ]) {
      it(`refuses to start anything for ${JSON.stringify(name)}`, async (t) => {
        const context = recordedContext(t, { userName: name })
        const start = create({}, context).start(AbortSignal.timeout(5_000))
        await assert.rejects(start, isStartFailed('no-account'))
        assert.equal(context.saved, null)
      })
    }

    it('refuses the uid of an account as its name', async (t) => {
      const context = recordedContext(t, { userName: String(account.uid) })
      const start = create({}, context).start(AbortSignal.timeout(5_000))
      await assert.rejects(start, isStartFailed('no-account'))
    })

    it('fails when the hub may not change groups or users, instead of going on', async (t) => {
      for (const right of ['setgid', 'setuid']) {
        const lessRights = [`--bounding-set=-${right}`, `--inh-caps=-${right}`]
        assert.equal(await startLocal(t, lessRights, userName), 'permission-denied')
      }
    })

    it('starts only its own account when the hub is not root', async (t) => {
      // The two capabilities are for the reading of a working tree in the home of root.
      const reading = ['--inh-caps=-all,+dac_read_search', '--ambient-caps=-all,+dac_read_search']
      const ids = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups']
      const asAccount = [...ids, ...reading]
      assert.equal(await startLocal(t, asAccount, 'daemon'), 'permission-denied')
      assert.equal(await startLocal(t, asAccount, userName), `running as ${account.uid}`)
    })
  })

  async function started(
    t: TestContext,
  ): Promise<{ pid: number; context: ReturnType<typeof recordedContext> }> {
    const context = recordedContext(t, { userName })
    await create({}, context).start(AbortSignal.timeout(10_000))
    return { pid: identityIn(context.saved).pid, context }
  }

  async function startLocal(
    t: TestContext,
    rights: readonly string[],
    name: string,
  ): Promise<string> {
    const logs = mkdtempSync(join(tmpdir(), 'portico-local-log-'))
    t.after(() => rmSync(logs, { recursive: true }))
    chmodSync(logs, 0o777)
    const program = join(import.meta.dirname, '../support/start-local.ts')
    const node = [process.execPath, '--conditions=source', '--import', 'tsx', program]
    const command = [...rights, '--', ...node, name, join(logs, 'log'), server]
    const { stdout } = await promisify(execFile)('setpriv', command, { timeout: 30_000 })
    return stdout.trim()
  }
})

function portIn(saved: unknown): number {
  return (saved as { port: number }).port
}
