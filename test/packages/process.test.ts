import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  mkdtempSync,
  readFileSync,
  readlinkSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import {
  type Command,
  type Exited,
  LaunchFailed,
  type LaunchOptions,
  type SupervisedProcess,
  adopt,
  identityOf,
  isAlive,
  launch,
  packageRoot,
  parseIdentity,
  programPath,
  tailFile,
} from 'portico/process'
import { parsePs } from '../../packages/process/process-table.ts'
import { until } from '../support/until.ts'

const folder = mkdtempSync(join(tmpdir(), 'portico-process-'))
const started: SupervisedProcess[] = []
let logs = 0

after(async () => {
  await Promise.all(started.map((supervised) => supervised.stop([['SIGKILL', 5_000]])))
  rmSync(folder, { recursive: true })
})

const env = { PATH: '/usr/local/bin:/usr/bin:/bin' }

async function start(
  command: Command,
  options: Partial<LaunchOptions> = {},
): Promise<{ supervised: SupervisedProcess; logFile: string }> {
  const logFile = join(folder, `${++logs}.log`)
  const supervised = await launch({ command, env, logFile, save: async () => {}, ...options })
  started.push(supervised)
  return { supervised, logFile }
}

function shell(script: string, options?: Partial<LaunchOptions>): ReturnType<typeof start> {
  return start(['sh', '-c', script], options)
}

/** How it ended; keeps this program alive for the answer. */
async function endOf({ exited }: SupervisedProcess): Promise<Exited> {
  const late = setTimeout(() => assert.fail('the process does not end'), 10_000)
  return exited.finally(() => clearTimeout(late))
}

async function pidIn(logFile: string): Promise<number> {
  return Number(await until('a pid in the log', async () => (await tailFile(logFile, 1))[0]))
}

describe('launch', () => {
  it('gives the program exactly the environment, the folder, the umask and three descriptors', async () => {
    const odd = Array.from({ length: 0x300 }, (_, i) => String.fromCodePoint(i + 1)).join('')
    const wanted = { PATH: '/usr/bin:/bin', ODD: odd, QUOTED: `'"$HOME\`id\`\\'`, EMPTY: '' }
    const { supervised } = await start(['sleep', '600'], { env: wanted, cwd: folder })
    const proc = `/proc/${supervised.identity.pid}`
    await until('sleep runs', () => readFileSync(`${proc}/comm`, 'utf8') === 'sleep\n')
    const found = readFileSync(`${proc}/environ`, 'utf8').split('\0').filter(Boolean)
    assert.deepEqual(
      found.toSorted(),
      Object.entries(wanted)
        .map((e) => e.join('='))
        .toSorted(),
    )
    assert.equal(readlinkSync(`${proc}/cwd`), folder)
    assert.match(readFileSync(`${proc}/status`, 'utf8'), /^Umask:\t0077$/m)
    assert.deepEqual(readdirSync(`${proc}/fd`).toSorted(), ['0', '1', '2'])
    assert.equal(readlinkSync(`${proc}/fd/0`), '/dev/null')
    assert.equal(readFileSync(`${proc}/cmdline`, 'utf8'), 'sleep\x00600\0')
  })

  it('appends both outputs to a log that only its owner reads', async () => {
    const { supervised, logFile } = await shell('echo out; echo err >&2')
    assert.deepEqual(await endOf(supervised), { code: 0, signal: null })
    assert.deepEqual(await tailFile(logFile, 10), ['out', 'err'])
    assert.equal(statSync(logFile).mode & 0o777, 0o600)
  })

  it('does not write a log through a symbolic link', async () => {
    const logFile = join(folder, 'link.log')
    symlinkSync(join(folder, 'elsewhere'), logFile)
    await assert.rejects(shell('true', { logFile }), { code: 'ELOOP' })
  })

  it('saves before the program can do anything', async () => {
    const marker = join(folder, 'begun')
    const { supervised } = await start(['touch', marker], {
      save: async (identity) => {
        assert.equal(isAlive(identity), true)
        assert.throws(() => statSync(marker), { code: 'ENOENT' })
      },
    })
    assert.equal((await endOf(supervised)).code, 0)
    statSync(marker)
  })

  it('leaves nothing when save rejects', async () => {
    let pid = 0
    const save: LaunchOptions['save'] = (identity) => {
      pid = identity.pid
      return Promise.reject(new Error('disk full'))
    }
    await assert.rejects(shell('sleep 600', { save }), { message: 'disk full' })
    assert.equal(identityOf(pid), null)
  })

  it('leaves nothing when the signal aborts while it saves', async () => {
    const controller = new AbortController()
    let pid = 0
    const save: LaunchOptions['save'] = async (identity) => {
      pid = identity.pid
      controller.abort(new Error('changed my mind'))
    }
    await assert.rejects(shell('sleep 600', { save, signal: controller.signal }), /changed my mind/)
    assert.equal(identityOf(pid), null)
  })

  it('tells a missing program, a missing interpreter and one that may not be run apart', async () => {
    const script = join(folder, 'script')
    execFileSync('sh', ['-c', 'echo "#!/no/such/interpreter" > "$1"; chmod 755 "$1"', 'sh', script])
    const codes = [['/no/such/program'], [script], ['/etc/passwd']] as const
    const ends = codes.map(async (command) => (await endOf((await start(command)).supervised)).code)
    assert.deepEqual(await Promise.all(ends), [127, 127, 126])
  })

  it('fails before save when the folder cannot be entered or the prefix ends', async () => {
    const save = () => assert.fail('must not be saved')
    const failedAt = (stage: string) => (error: unknown) =>
      error instanceof LaunchFailed && error.stage === stage
    await assert.rejects(shell('true', { save, cwd: '/no/such/folder' }), failedAt('cwd'))
    await assert.rejects(shell('true', { save, prefix: ['/bin/false'] }), failedAt('prefix'))
    await assert.rejects(shell('true', { save, prefix: ['/no/such'] }), failedAt('prefix'))
  })

  it('refuses variables that no shell can export', async () => {
    for (const name of ['', 'A-B', '1A', 'A=B', 'BASH_FUNC_x%%', 'A;id']) {
      await assert.rejects(shell('true', { env: { [name]: '' } }), /cannot be the name/)
    }
    await assert.rejects(shell('true', { env: { A: 'x\0y' } }), /the environment variable A holds/)
  })
})

describe('stop', () => {
  it('begins with SIGINT and reports how the process ended', async () => {
    const { supervised, logFile } = await shell(
      'trap "exit 3" INT; echo up; while :; do sleep 0.05; done',
    )
    await until('the trap is set', async () => (await tailFile(logFile, 1)).length > 0)
    assert.deepEqual(await supervised.stop(), { code: 3, signal: null })
    assert.equal(supervised.isRunning(), false)
    assert.deepEqual(await supervised.stop(), { code: 3, signal: null })
  })

  it('ends a process that ignores everything but SIGKILL', async () => {
    const { supervised, logFile } = await shell(
      'trap "" INT TERM; echo up; while :; do sleep 1; done',
    )
    await until('the trap is set', async () => (await tailFile(logFile, 1)).length > 0)
    const ladder = [
      ['SIGINT', 50],
      ['SIGTERM', 50],
      ['SIGKILL', 5_000],
    ] as const
    assert.deepEqual(await supervised.stop(ladder), { code: null, signal: 'SIGKILL' })
  })

  it('takes children in other sessions and children whose parent has died', async () => {
    const { supervised, logFile } = await shell(
      `trap 'exit 0' INT
      setsid sh -c 'trap "" INT TERM; echo $$; sleep 600' &
      while :; do sleep 0.05; done`,
    )
    const child = identityOf(await pidIn(logFile))
    assert.ok(child)
    await supervised.stop()
    assert.equal(isAlive(child), false)
  })

  it('ends orphans of a leader that died by itself', async () => {
    const { supervised, logFile } = await shell('sleep 600 & echo $!')
    await endOf(supervised)
    const orphan = identityOf(await pidIn(logFile))
    assert.ok(orphan)
    assert.equal(isAlive(orphan), true)
    await adopt(supervised.identity).stop()
    assert.equal(isAlive(orphan), false)
  })

  it('cuts a first call short when a second one is in a hurry', async () => {
    const { supervised, logFile } = await shell('trap "" INT; echo up; while :; do sleep 1; done')
    await until('the trap is set', async () => (await tailFile(logFile, 1)).length > 0)
    const patient = supervised.stop()
    await supervised.stop([['SIGKILL', 5_000]])
    assert.deepEqual(await patient, { code: null, signal: 'SIGKILL' })
  })
})

describe('an adopted process', () => {
  it('is watched and stopped like a child', async () => {
    const { supervised } = await start(['sleep', '600'])
    const adopted = adopt(supervised.identity)
    assert.equal(adopted.isRunning(), true)
    const { exited } = adopted
    await adopted.stop()
    assert.deepEqual(await exited, { code: null, signal: null })
  })

  it('is never confused with another one that has its pid', async () => {
    const { supervised } = await start(['sleep', '600'])
    for (const other of [{ startTime: '1' }, { bootId: 'another boot' }]) {
      const stranger = adopt({ ...supervised.identity, ...other })
      assert.equal(stranger.isRunning(), false)
      await stranger.stop()
      assert.equal(supervised.isRunning(), true)
    }
  })
})

describe('an identity', () => {
  it('survives JSON, and nothing else is taken for one', () => {
    const identity = identityOf(process.pid)
    assert.ok(identity)
    assert.deepEqual(parseIdentity(JSON.parse(JSON.stringify(identity))), identity)
    for (const bad of [null, 7, {}, { ...identity, pid: 1 }, { ...identity, pid: '9' }]) {
      assert.equal(parseIdentity(bad), null)
    }
  })

  it('is not alive as a zombie', async () => {
    const { supervised, logFile } = await start([
      process.execPath,
      '-e',
      `const { spawnSync, execFileSync } = require('node:child_process')
      require('node:fs').writeSync(1, require('node:child_process').spawn('true').pid + '\\n')
      for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`,
    ])
    const pid = await pidIn(logFile)
    const identity = identityOf(pid)
    assert.ok(identity)
    await until('it is a zombie', () => !isAlive(identity))
    assert.ok(identityOf(pid))
    await supervised.stop([['SIGKILL', 5_000]])
  })

  it('can be read from ps, where there is no /proc', () => {
    const output = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat=,lstart='], {
      encoding: 'utf8',
    })
    const self = parsePs(output).find(({ pid }) => pid === process.pid)
    assert.equal(self?.parent, process.ppid)
    assert.equal(self?.isZombie, false)
    assert.match(self?.startTime ?? '', /\d\d:\d\d:\d\d \d{4}$/)
  })
})

describe('programs', () => {
  it('are found in the built tree of our package', () => {
    assert.equal(statSync(join(packageRoot(), 'package.json')).isFile(), true)
    const script = join(packageRoot(), 'dist', 'proxy', 'main.js')
    assert.deepEqual(programPath('proxy/main'), [process.execPath, script])
  })
})
