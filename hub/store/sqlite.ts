import BetterSqlite3 from 'better-sqlite3'

/** One connection to a SQLite file. Blocks the event loop while it works. */
export interface Sqlite {
  readonly file: string
  /** True between `BEGIN` and its end, also when SQLite has ended it by itself. */
  readonly inTransaction: boolean
  /** Runs statements whose results nobody needs. */
  exec(sql: string): void
  /** The same text gives the same statement, unless that one is busy. */
  prepare(sql: string): BetterSqlite3.Statement<unknown[]>
  close(): void
}

/**
 * Everything native that was ever made. From version 24.19 on, Node aborts when the garbage
 * collector finds an object of better-sqlite3 12 outside of any script
 * (https://github.com/nodejs/node/issues/65446), so none is ever let go: connections are few, and
 * statements are shared by their text.
 */
const everything: unknown[] = []

/** Opens a file. Throws better-sqlite3's `SqliteError`. */
export function openSqlite(file: string, options: BetterSqlite3.Options = {}): Sqlite {
  const raw = new BetterSqlite3(file, options)
  const statements = new Map<string, BetterSqlite3.Statement<unknown[]>>()
  everything.push(raw, statements)
  return {
    file,
    get inTransaction() {
      return raw.inTransaction
    },
    exec: (sql) => void raw.exec(sql),
    prepare(sql) {
      const known = statements.get(sql)
      if (known && !known.busy) return known
      const statement = raw.prepare<unknown[]>(sql)
      if (known) everything.push(statement)
      else statements.set(sql, statement)
      return statement
    },
    close: () => void raw.close(),
  }
}

/** SQLite's own failures; their `code` begins with `SQLITE_`. */
export const { SqliteError } = BetterSqlite3
