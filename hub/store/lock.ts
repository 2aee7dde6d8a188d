import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../../packages/core/errors.ts'
import { openSqlite, SqliteError } from './sqlite.ts'

/** The right to use a data directory. Held until released or until the process ends, however it ends. */
export interface HubLock {
  release(): void
}

/**
 * Takes the exclusive lock on `<dataDir>/hub.lock`. The lock is SQLite's own write lock on that
 * file, which the kernel drops with the process; `<dataDir>/hub.pid` says who holds it.
 * @throws {HubError} `unavailable`, naming pid and start time of the holder.
 */
export function acquireLock(dataDir: string): HubLock {
  const file = join(dataDir, 'hub.lock')
  closeSync(openSync(file, constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW, 0o600))
  const lock = openSqlite(file, { timeout: 0 })
  try {
    lock.exec('BEGIN IMMEDIATE')
  } catch (error) {
    lock.close()
    if (!(error instanceof SqliteError)) throw error
    if (!error.code.startsWith('SQLITE_BUSY'))
      throw new HubError('unavailable', `${file} cannot be locked (${error.message}): remove it`, {
        cause: error,
      })
    throw new HubError('unavailable', `another hub uses ${dataDir}: ${holder(dataDir)}`, {
      cause: error,
    })
  }
  const started = new Date().toISOString()
  writeFileSync(join(dataDir, 'hub.pid'), JSON.stringify({ pid: process.pid, started }), {
    mode: 0o600,
  })
  return { release: () => lock.close() }
}

function holder(dataDir: string): string {
  try {
    const { pid, started } = JSON.parse(readFileSync(join(dataDir, 'hub.pid'), 'utf8')) as {
      pid: number
      started: string
    }
    return `pid ${pid}, started ${started}. Stop it first, or use another --data-dir`
  } catch {
    return 'its pid is not known. Stop it first, or use another --data-dir'
  }
}
