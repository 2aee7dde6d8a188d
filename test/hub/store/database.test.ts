import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type TestContext, describe, it } from 'node:test'
import { openSqlite } from '../../../hub/store/sqlite.ts'
import { type Migration, migrations } from '../../../migrations/index.ts'
import { backupDatabase, checkDatabase, openDatabase } from '../../../hub/store/database.ts'
import { processStore } from '../../../hub/store/processes.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { fill, mountReadOnly, mountSmall } from '../../support/mount.ts'

const newest = migrations.map(({ name }) => name)

describe('openDatabase', () => {
  it('makes a private file with the newest schema', async (t) => {
    const file = fresh(t)
    await (await openDatabase(file))[Symbol.asyncDispose]()
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const { ok, schemaVersion, latest, problems } = checkDatabase(file)
    assert.deepEqual([ok, schemaVersion, problems], [true, latest, []])
    assert.deepEqual(copies(file), [])
  })

  it('copies the file, with what is only in its log, before it upgrades', async (t) => {
    const file = fresh(t)
    await using first = await openDatabase(file)
    const reader = openSqlite(file)
    t.after(() => reader.close())
    reader.exec('BEGIN; SELECT * FROM processes')
    await processStore(first).save('proxy', { identity: { pid: 42 } })

    await using upgraded = await openDatabase(file, [...migrations, addsColour])
    assert.equal(appliedIn(file).at(-1), addsColour.name)
    assert.ok(upgraded.file)
    const [copy = ''] = copies(file)
    assert.match(copy, /before-upgrade/)
    const before = join(dirname(file), copy)
    assert.equal(statSync(before).mode & 0o777, 0o600)
    assert.deepEqual(appliedIn(before), newest)
    assert.deepEqual(pidsIn(before), [42])
  })

  it('leaves everything as it was when an upgrade fails', async (t) => {
    const file = await made(t)
    const failing: Migration = {
      name: '9999-fails',
      async up(db) {
        await db.schema.createTable('half').addColumn('id', 'integer').execute()
        throw new Error('no')
      },
    }
    await assert.rejects(openDatabase(file, [...migrations, failing]), /no/)
    assert.deepEqual(appliedIn(file), newest)
    assert.equal(checkDatabase(file).ok, true)
    await (await openDatabase(file))[Symbol.asyncDispose]()
  })

  it('refuses a file of a newer version, and does not change it', async (t) => {
    const file = await made(t)
    await (await openDatabase(file, [...migrations, addsColour]))[Symbol.asyncDispose]()
    const before = readFileSync(file)
    await assert.rejects(openDatabase(file), { code: 'unavailable', message: /newer version/ })
    assert.deepEqual(readFileSync(file), before)
    assert.match(checkDatabase(file).problems.join(), /newer version/)
  })

  for (const [what, content] of [
    ['text', Buffer.from('no database at all\n'.repeat(500))],
    ['a database with a torn page', null],
  ] as const)
    it(`refuses ${what}, naming the file and the way out`, async (t) => {
      const file = await made(t)
      const torn = readFileSync(file)
      torn.fill(0xff, 4096, 3 * 4096)
      writeFileSync(file, content ?? torn)
      await assert.rejects(openDatabase(file), ({ code, message }) => {
        return code === 'unavailable' && message.includes(file) && /damaged/.test(message)
      })
      assert.equal(checkDatabase(file).ok, false)
    })

  it('refuses a file on a read-only file system', async (t) => {
    const file = await made(t)
    using readOnly = mountReadOnly(dirname(file))
    if (!readOnly) return t.skip('file systems cannot be mounted here')
    await assert.rejects(openDatabase(file), { code: 'unavailable', message: /cannot be written/ })
  })

  it('refuses a folder in place of the file or of its log', async (t) => {
    const folder = fresh(t)
    mkdirSync(folder)
    await assert.rejects(openDatabase(folder), { code: 'unavailable' })
    const file = await made(t)
    mkdirSync(`${file}-wal`)
    await assert.rejects(openDatabase(file), { code: 'unavailable' })
  })
})

describe('an open database', () => {
  it('says that another program holds the lock, and works again afterwards', async (t) => {
    const file = fresh(t)
    await using database = await openDatabase(file)
    const processes = processStore(database)
    const other = openSqlite(file)
    t.after(() => other.close())
    other.exec('BEGIN IMMEDIATE')
    const started = performance.now()
    await assert.rejects(processes.save('proxy', {}), { code: 'unavailable', message: /locked/ })
    assert.ok(performance.now() - started < 1_000)
    other.exec('COMMIT')
    await processes.save('proxy', { identity: { pid: 7 } })
    assert.deepEqual(pidsIn(file), [7])
  })

  it('says that the disk is full, in a transaction too, and works again afterwards', async (t) => {
    const folder = temporaryFolder(t)
    using small = mountSmall(folder, 2)
    if (!small) return t.skip('file systems cannot be mounted here')
    await using database = await openDatabase(join(folder, 'portico.sqlite'))
    const processes = processStore(database)
    fill(join(folder, 'ballast'))
    const full = { code: 'unavailable', message: /is full/ }
    const large = { text: 'x'.repeat(100_000) }
    await assert.rejects(processes.save('proxy', large), full)
    await assert.rejects(
      database.db.transaction().execute(async (transaction) => {
        const row = { name: 'a', pid: 1, start_time: '', boot_id: '', recorded_at: 1 }
        const data = JSON.stringify(large)
        await transaction
          .insertInto('processes')
          .values({ ...row, data })
          .execute()
      }),
      full,
    )
    writeFileSync(join(folder, 'ballast'), '')
    await processes.save('proxy', large)
    assert.deepEqual(await processes.load('proxy'), large)
    assert.equal(await processes.load('a'), null)
  })
})

describe('backupDatabase', () => {
  it('copies while others write and keeps the newest three', async (t) => {
    const file = fresh(t)
    await using database = await openDatabase(file)
    const made: string[] = []
    for (let pid = 1; pid <= 5; pid += 1) {
      await processStore(database).save('proxy', { identity: { pid } })
      made.push(basename(await backupDatabase(file)))
    }
    assert.deepEqual(copies(file), made.slice(-3))
    const newest = join(dirname(file), made.at(-1) ?? '')
    assert.deepEqual(pidsIn(newest), [5])
    assert.equal(statSync(newest).mode & 0o777, 0o600)
    assert.equal(checkDatabase(newest).ok, true)
  })
})

const addsColour: Migration = {
  name: '9999-colour',
  async up(db) {
    await db.schema.alterTable('users').addColumn('colour', 'text').execute()
  },
}

function fresh(t: TestContext): string {
  return join(temporaryFolder(t), 'portico.sqlite')
}

async function made(t: TestContext): Promise<string> {
  const file = fresh(t)
  await (await openDatabase(file))[Symbol.asyncDispose]()
  return file
}

function copies(file: string): string[] {
  const isCopy = /\.(?:backup|before-upgrade)-[\w-]+$/
  return readdirSync(dirname(file))
    .filter((name) => isCopy.test(name))
    .toSorted()
}

function appliedIn(file: string): string[] {
  return rowsIn<{ name: string }>(file, 'SELECT name FROM schema_migrations').map((row) => row.name)
}

function pidsIn(file: string): number[] {
  return rowsIn<{ pid: number }>(file, 'SELECT pid FROM processes').map((row) => row.pid)
}

function rowsIn<Row>(file: string, query: string): Row[] {
  const raw = openSqlite(file, { readonly: true })
  try {
    return raw.prepare(query).all() as Row[]
  } finally {
    raw.close()
  }
}
