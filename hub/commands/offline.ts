import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../../packages/core/errors.ts'
import { type Database, openDatabase } from '../store/database.ts'
import { acquireLock } from '../store/lock.ts'

export function databaseFile(dataDir: string): string {
  return join(dataDir, 'portico.sqlite')
}

/**
 * Works on the database while no hub does. Brings it to the newest schema first.
 * @throws {HubError} `unavailable` when a hub holds the lock, `not_found` when there is no database.
 */
export async function withDatabase<Result>(
  dataDir: string,
  use: (database: Database) => Promise<Result>,
): Promise<Result> {
  const file = existingDatabase(dataDir)
  return withLock(dataDir, async () => {
    await using database = await openDatabase(file)
    return await use(database)
  })
}

/** Keeps every hub away from the data directory for as long as `work` takes. */
export async function withLock<Result>(
  dataDir: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const lock = acquireLock(dataDir)
  try {
    return await work()
  } finally {
    lock.release()
  }
}

/** @throws {HubError} `not_found` */
export function existingDatabase(dataDir: string): string {
  const file = databaseFile(dataDir)
  if (existsSync(file)) return file
  throw new HubError('not_found', `${file}: there is no database yet: no hub has run there`)
}
