import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync, mkdtempSync, rmSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ProcessIdentity, adopt, identityOf, isAlive, parseIdentity } from 'portico/process'
import { until } from '../support/until.ts'

const launcher = join(import.meta.dirname, '../support/launcher.ts')

describe('when the program that launches is killed', () => {
  for (const point of ['before save', 'during save'] as const) {
    it(`${point}: the process is gone and never began`, async (t) => {
      const { folder, identity } = await killedAt(t, point)
      await until('it is gone', () => !isAlive(identity))
      assert.deepEqual(recordedIn(folder), [])
      assert.equal(existsSync(join(folder, `begun.${identity.pid}`)), false)
    })
  }

  it('after save, before the program begins: it is recorded, gone, and never began', async (t) => {
    const { folder, identity } = await killedAt(t, 'after save')
    await until('it is gone', () => !isAlive(identity))
    assert.deepEqual(recordedIn(folder), [identity])
    assert.equal(existsSync(join(folder, `begun.${identity.pid}`)), false)
  })

  it('after launch: it is recorded, lives on, and is stopped from the record', async (t) => {
    const { folder, identity } = await killedAt(t, 'after launch')
    const [recorded] = recordedIn(folder)
    assert.deepEqual(recorded, identity)
    await until('it began', () => existsSync(join(folder, `begun.${identity.pid}`)))
    assert.equal(isAlive(identity), true)
    await adopt(identity).stop()
    assert.equal(isAlive(identity), false)
  })

  it('at any moment: whatever runs is recorded', async (t) => {
    for (const delay of [5, 25, 60, 95, 130]) {
      const folder = temporaryFolder(t)
      const { child } = startLauncher(t, folder, 'loop')
      await until('the first is recorded', () => recordedIn(folder).length > 0)
      await sleep(delay)
      child.kill('SIGKILL')
      await until('nothing unknown runs', () => {
        const recorded = recordedIn(folder)
        const running = processesNaming(folder)
        return running.every(({ pid, startTime }) =>
          recorded.some((known) => known.pid === pid && known.startTime === startTime),
        )
      })
      await Promise.all(
        recordedIn(folder).map((identity) => adopt(identity).stop([['SIGKILL', 5_000]])),
      )
      // A child that was forked but not yet itself when its parent died still has to notice.
      await until('nothing runs', () => processesNaming(folder).length === 0)
    }
  })
})

async function killedAt(
  t: TestContext,
  point: string,
): Promise<{ folder: string; identity: ProcessIdentity }> {
  const folder = temporaryFolder(t)
  const { child, firstLine } = startLauncher(t, folder, point)
  const { here, identity: said } = JSON.parse(await firstLine) as Record<string, unknown>
  assert.equal(here, point)
  const identity = parseIdentity(said)
  assert.ok(identity)
  assert.equal(isAlive(identity), true)
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  return { folder, identity }
}

function startLauncher(
  t: TestContext,
  folder: string,
  point: string,
): { child: ChildProcess; firstLine: Promise<string> } {
  const flags = ['--conditions=source', '--import', 'tsx']
  const child = spawn(process.execPath, [...flags, launcher, folder, point], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(async () => {
    child.kill('SIGKILL')
    for (const identity of recordedIn(folder)) await adopt(identity).stop([['SIGKILL', 5_000]])
    rmSync(folder, { recursive: true })
  })
  const lines = createInterface({ input: child.stdout })
  return { child, firstLine: once(lines, 'line').then(([line]) => String(line)) }
}

function temporaryFolder(t: TestContext): string {
  return mkdtempSync(join(tmpdir(), `portico-${t.name.slice(0, 5)}-`.replaceAll(' ', '-')))
}

function recordedIn(folder: string): ProcessIdentity[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
  return files.flatMap((name) => {
    return parseIdentity(JSON.parse(readFileSync(join(folder, name), 'utf8'))) ?? []
  })
}

/** The processes behind or before the gate whose command line names the folder: launchers apart. */
function processesNaming(folder: string): ProcessIdentity[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    const words = commandLine(name)
    if (!words.includes(folder) || words.includes(launcher)) return []
    const identity = identityOf(Number(name))
    return identity && isAlive(identity) ? identity : []
  })
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}
