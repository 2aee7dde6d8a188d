import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type CompiledQuery, Kysely, type RawBuilder, SqliteDialect, sql } from 'kysely'
import { type Migration, migrations } from '../../migrations/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import type { Schema } from './schema.ts'
import { openSqlite, type Sqlite, SqliteError } from './sqlite.ts'

/** The open database. All SQL of the hub goes through `db`, one writer at a time. */
export interface Database extends AsyncDisposable {
  readonly db: Kysely<Schema>
  readonly file: string
}

/** Longest time a statement waits for a lock, in ms. It blocks the event loop, so it is short. */
const busyTimeout = 250

/**
 * Opens (or makes, mode 0600) the SQLite file and brings it to the newest schema, the last of
 * `steps`; before a migration the file is copied beside itself.
 * @throws {HubError} `unavailable` for a corrupt, read-only or newer database, naming the file and the way out.
 */
export async function openDatabase(
  file: string,
  steps: readonly Migration[] = migrations,
): Promise<Database> {
  const raw = openFile(file)
  try {
    checkIntegrity(raw, file)
    const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: guarded(raw) }) })
    await migrate(db, raw, steps)
    return {
      db,
      file,
      async [Symbol.asyncDispose]() {
        await db.destroy()
      },
    }
  } catch (error) {
    raw.close()
    throw error
  }
}

/** What `portico db check` reports. Opens the file without writing. */
export interface DatabaseReport {
  readonly ok: boolean
  readonly schemaVersion: number
  readonly latest: number
  readonly problems: readonly string[]
}

/** Reads the whole file for damage and compares its schema with this version's. */
export function checkDatabase(file: string): DatabaseReport {
  const latest = migrations.length
  try {
    if (!existsSync(file)) throw new HubError('not_found', `${file} does not exist`)
    const raw = openSqlite(file, { readonly: true, timeout: busyTimeout })
    try {
      const rows = raw.prepare('PRAGMA integrity_check').all() as readonly {
        integrity_check: string
      }[]
      const problems = rows.map((row) => row.integrity_check).filter((line) => line !== 'ok')
      const broken = raw.prepare('PRAGMA foreign_key_check').all()
      if (broken.length > 0) problems.push(`${broken.length} rows refer to rows that do not exist`)
      const applied = appliedMigrations(raw)
      const unknown = applied.filter((name) => !migrations.some((known) => known.name === name))
      if (unknown.length > 0) problems.push(newerMessage(file, unknown))
      return { ok: problems.length === 0, schemaVersion: applied.length, latest, problems }
    } finally {
      raw.close()
    }
  } catch (error) {
    return { ok: false, schemaVersion: 0, latest, problems: [asHubError(error, file).message] }
  }
}

/**
 * Copies the database while it may be in use (a snapshot by `VACUUM INTO`) to
 * `<file>.backup-<UTC time>`, mode 0600, and removes all but the newest `keep` of these copies.
 * Resolves to the new file's name.
 */
export async function backupDatabase(file: string, keep = 3): Promise<string> {
  try {
    const raw = openSqlite(file, { readonly: true, timeout: busyTimeout })
    try {
      return await copyDatabase(raw, 'backup', keep)
    } finally {
      raw.close()
    }
  } catch (error) {
    throw asHubError(error, file)
  }
}

async function copyDatabase(raw: Sqlite, kind: string, keep: number): Promise<string> {
  const target = backupName(raw.file, kind)
  // What fails half-way must not take the place of a good copy.
  const unfinished = `${target}.part`
  try {
    closeSync(openSync(unfinished, 'wx', 0o600))
    raw.exec(`VACUUM INTO '${unfinished.replaceAll("'", "''")}'`)
    renameSync(unfinished, target)
  } catch (error) {
    rmSync(unfinished, { force: true })
    throw asHubError(error, raw.file)
  }
  pruneBackups(raw.file, kind, keep)
  return target
}

function openFile(file: string): Sqlite {
  let raw: Sqlite | null = null
  try {
    raw = openSqlite(file, { timeout: busyTimeout })
    chmodSync(file, 0o600)
    raw.exec('PRAGMA journal_mode = WAL')
    raw.exec('PRAGMA synchronous = NORMAL')
    raw.exec('PRAGMA foreign_keys = ON')
    return raw
  } catch (error) {
    raw?.close()
    throw asHubError(error, file)
  }
}

function checkIntegrity(raw: Sqlite, file: string): void {
  try {
    const [first] = raw.prepare('PRAGMA quick_check(1)').all() as readonly {
      quick_check: string
    }[]
    if (first?.quick_check !== 'ok') throw new HubError('unavailable', corruptMessage(file))
  } catch (error) {
    throw asHubError(error, file)
  }
}

async function migrate(
  db: Kysely<Schema>,
  raw: Sqlite,
  steps: readonly Migration[],
): Promise<void> {
  const applied = appliedMigrations(raw)
  const unknown = applied.filter((name) => !steps.some((known) => known.name === name))
  if (unknown.length > 0) throw new HubError('unavailable', newerMessage(raw.file, unknown))
  const missing = steps.filter((known) => !applied.includes(known.name))
  if (missing.length === 0) return
  if (applied.length > 0) await copyDatabase(raw, 'before-upgrade', 3)
  await db.schema
    .createTable('schema_migrations')
    .ifNotExists()
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('applied_at', 'integer', (column) => column.notNull())
    .execute()
  for (const migration of missing)
    await db.transaction().execute(async (transaction) => {
      await migration.up(transaction as unknown as Kysely<unknown>)
      await transaction
        .insertInto('schema_migrations')
        .values({ name: migration.name, applied_at: Date.now() })
        .execute()
    })
}

function appliedMigrations(raw: Sqlite): readonly string[] {
  const table = raw
    .prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'")
    .get()
  if (!table) return []
  const rows = raw.prepare('SELECT name FROM schema_migrations ORDER BY name').all()
  return (rows as readonly { name: string }[]).map((row) => row.name)
}

/** The same database for Kysely, with SQLite's failures turned into the hub's own error. */
function guarded(raw: Sqlite): ConstructorParameters<typeof SqliteDialect>[0]['database'] & object {
  const attempt = <T>(run: () => T): T => {
    try {
      return run()
    } catch (error) {
      throw asHubError(error, raw.file)
    }
  }
  return {
    close: () => raw.close(),
    prepare(text: string) {
      const statement = attempt(() => raw.prepare(text))
      return {
        reader: statement.reader,
        all: (parameters: readonly unknown[]) => attempt(() => statement.all(...parameters)),
        run(parameters: readonly unknown[]) {
          // SQLite has rolled back by itself after some failures, which must not hide behind a second one.
          if (text === 'rollback' && !raw.inTransaction) return { changes: 0, lastInsertRowid: 0 }
          return attempt(() => statement.run(...parameters))
        },
        iterate: (parameters: readonly unknown[]) =>
          statement.iterate(...parameters) as IterableIterator<unknown>,
      }
    },
  }
}

/** SQLite's own failures as something an admin can act on; everything else unchanged. */
function asHubError(error: unknown, file: string): Error {
  const say = (text: string): HubError =>
    new HubError('unavailable', text, { cause: error, retryAfter: 5 })
  if (!(error instanceof SqliteError)) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') return say(readOnlyMessage(file))
    return error instanceof Error ? error : new Error(String(error))
  }
  if (error.code.startsWith('SQLITE_BUSY'))
    return say(`the database ${file} is locked by another program; end it or try again`)
  if (error.code.startsWith('SQLITE_FULL'))
    return say(`the disk that holds ${file} is full; free some space`)
  if (error.code.startsWith('SQLITE_READONLY')) return say(readOnlyMessage(file))
  if (error.code.startsWith('SQLITE_IOERR'))
    return say(`reading or writing ${file} failed (${error.code})`)
  if (error.code.startsWith('SQLITE_CANTOPEN'))
    return say(`the database ${file} cannot be opened; check that its folder exists and is yours`)
  if (error.code === 'SQLITE_NOTADB' || error.code.startsWith('SQLITE_CORRUPT'))
    return say(corruptMessage(file))
  return error
}

const readOnlyMessage = (file: string): string =>
  `the database ${file} cannot be written; check its owner, mode and file system`

const corruptMessage = (file: string): string =>
  `the database ${file} is damaged or not a database; restore one of its copies (${basename(file)}.backup-*) or move it away`

const newerMessage = (file: string, unknown: readonly string[]): string =>
  `the database ${file} was written by a newer version of Portico (it has ${unknown.join(', ')}); install that version or restore a copy from before the upgrade`

function backupName(file: string, kind: string): string {
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, '')
  return `${file}.${kind}-${stamp}`
}

function pruneBackups(file: string, kind: string, keep: number): void {
  const folder = dirname(file)
  const copies = readdirSync(folder)
    .filter(
      (name) =>
        name.startsWith(`${basename(file)}.${kind}-`) && statSync(join(folder, name)).isFile(),
    )
    .toSorted()
  for (const name of copies.slice(0, Math.max(0, copies.length - keep)))
    unlinkSync(join(folder, name))
}

/**
 * A query that is built and compiled once: building costs several times what SQLite needs for a
 * small answer. `compiled` has any values as parameters; calls give the real ones in that order.
 */
export function prepared<Row>(
  { db }: Database,
  compiled: CompiledQuery<Row>,
): (...parameters: readonly unknown[]) => Promise<readonly Row[]> {
  return async (...parameters) => (await db.executeQuery<Row>({ ...compiled, parameters })).rows
}

/** The numbers or texts of a JSON list, for `IN`: one parameter however many there are. */
export function listed(json: string): RawBuilder<never> {
  return sql<never>`(SELECT value FROM json_each(${json}))`
}

/** True while the database answers; used by the readiness check. */
export async function databaseAnswers(database: Database): Promise<boolean> {
  try {
    await sql`SELECT 1`.execute(database.db)
    return true
  } catch {
    return false
  }
}
