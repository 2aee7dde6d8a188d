import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { acquireLock } from '../../../hub/store/lock.ts'
import { programPath } from '../../../packages/process/index.ts'
import { temporaryFolder } from '../../support/folder.ts'

it('keeps a second one out, naming pid and start time of the first', (t) => {
  const folder = temporaryFolder(t)
  const lock = acquireLock(folder)
  t.after(() => lock.release())
  assert.throws(() => acquireLock(folder), {
    code: 'unavailable',
    message: new RegExp(`pid ${process.pid}, started \\d{4}-\\d\\d-\\d\\dT`),
  })
})

it('is free after its release', (t) => {
  const folder = temporaryFolder(t)
  acquireLock(folder).release()
  acquireLock(folder).release()
})

it('is free the moment its holder is killed', async (t) => {
  const folder = temporaryFolder(t)
  const holder = await holderOf(t, folder)
  assert.throws(() => acquireLock(folder), { message: new RegExp(`pid ${holder.pid},`) })
  const ended = once(holder, 'exit')
  holder.kill('SIGKILL')
  await ended
  acquireLock(folder).release()
})

it('does not blame another hub for a file that is no lock', (t) => {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'hub.lock'), 'something else entirely\n'.repeat(100))
  assert.throws(() => acquireLock(folder), { code: 'unavailable', message: /hub\.lock.*remove/ })
})

it('does not follow a symbolic link', (t) => {
  const folder = temporaryFolder(t)
  symlinkSync(join(folder, 'elsewhere'), join(folder, 'hub.lock'))
  assert.throws(() => acquireLock(folder), { code: 'ELOOP' })
})

/** A process that has taken the lock and keeps it. */
async function holderOf(t: TestContext, folder: string): Promise<ChildProcess> {
  const module = pathToFileURL(programPath('hub/store/lock')[1]).href
  const script = `const { acquireLock } = await import(${JSON.stringify(module)})
    globalThis.lock = acquireLock(${JSON.stringify(folder)})
    console.log('held')
    setInterval(() => {}, 60_000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(30_000) })
  return child
}
