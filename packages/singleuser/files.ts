import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream, type Stats, constants } from 'node:fs'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { HubError } from '../core/errors.ts'
import { calledOf, fileError, isTaken, type Home, type Place } from './home.ts'

/** What a listing tells about one name. */
export interface Entry {
  readonly name: string
  readonly path: string
  readonly kind: 'directory' | 'file' | 'other'
  /** A link out of the root: shown, but it opens nowhere. */
  readonly outside: boolean
  readonly size: number | null
  readonly modified: Date
  readonly created: Date
  readonly writable: boolean
  /** Changes whenever the content may have changed; quoted, as in `ETag`. */
  readonly etag: string
}

/** Condition on the present state of a file, from `If-Match` and `If-None-Match`. */
export interface Expectation {
  /** Fails unless this is the current etag. */
  readonly etag?: string
  /** Fails when anything has the name. */
  readonly absent?: boolean
}

/** Thrown when an `Expectation` does not hold: 412 on the wire (RFC 9110 section 13.1.1). */
export class Conflict extends Error {
  override readonly name = 'Conflict'
}

/** Largest file that is read or written whole, in bytes; larger ones stream. */
export const maxWhole = 10 * 1024 * 1024

/** What the file view can do below its root. Throws `HubError` naming the file; never leaves the root. */
export class Files {
  readonly #home: Home

  constructor(home: Home) {
    this.#home = home
  }

  async entry(path: string): Promise<Entry> {
    const place = await this.#home.existing(path)
    return guarded(place, async () => entryOf(place, await fs.stat(place.location), false))
  }

  /** Names of a folder, unsorted; those that vanish meanwhile are left out. */
  async list(path: string): Promise<Entry[]> {
    const place = await this.#home.existing(path)
    const names = await guarded(place, () => fs.readdir(place.location))
    const entries: Entry[] = []
    for (let at = 0; at < names.length; at += 64) {
      const some = names.slice(at, at + 64).map((name) => this.#listed(place, name))
      entries.push(...(await Promise.all(some)).filter((entry) => entry !== null))
    }
    return entries
  }

  /** A file's bytes, at most `maxWhole`, with the entry they belong to. */
  async read(path: string): Promise<{ entry: Entry; content: Buffer }> {
    const { entry, location } = await this.#regular(path)
    if ((entry.size ?? 0) > maxWhole) {
      const limit = `${maxWhole / 1024 / 1024} MiB`
      throw new HubError(
        'payload_too_large',
        `"${entry.path}" is larger than ${limit}: download it`,
      )
    }
    return { entry, content: await guarded(entry, () => fs.readFile(location)) }
  }

  /** A file's bytes `start` to `end` (inclusive) as a stream that the caller consumes or destroys. */
  async stream(
    path: string,
  ): Promise<{ entry: Entry; open: (start: number, end: number) => Readable }> {
    const { entry, location } = await this.#regular(path)
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW
    const open = (start: number, end: number): Readable =>
      // `flags` may be a number, whatever the type says (see fs.open).
      createReadStream(location, { flags: flags as unknown as string, start, end })
    return { entry, open }
  }

  /**
   * Writes a file whole: the old content stays until the new one is complete. The mode of an
   * existing file is kept, and a link keeps pointing where it did.
   */
  async write(path: string, content: Readable, expected: Expectation = {}): Promise<Entry> {
    const place = await this.#writable(path)
    return guarded(place, async () => {
      await expectState(place, expected)
      const mode = await fs.stat(place.location).then(
        (stats) => stats.mode & 0o7777,
        () => null,
      )
      const draft = join(dirname(place.location), `.portico-${randomBytes(6).toString('hex')}.part`)
      try {
        await pipeline(content, createWriteStream(draft, { flags: 'wx', mode: mode ?? 0o666 }))
        if (mode !== null) await fs.chmod(draft, mode)
        await expectState(place, expected)
        await fs.rename(draft, place.location)
      } catch (error) {
        await fs.rm(draft, { force: true })
        throw error
      }
      return entryOf(place, await fs.stat(place.location), false)
    })
  }

  /** Makes an empty folder. Throws `already_exists`. */
  async makeFolder(path: string): Promise<Entry> {
    const place = await this.#home.newEntry(path)
    return guarded(place, async () => {
      await fs.mkdir(place.location)
      return entryOf(place, await fs.stat(place.location), false)
    })
  }

  /** Renames or moves within the root; links move as links. Throws `already_exists`. */
  async rename(path: string, to: string): Promise<Entry> {
    const from = await this.#home.entry(path)
    const target = await this.#home.newEntry(to)
    if (await isTaken(target))
      throw new HubError('already_exists', `"${target.path}" exists already`)
    await guarded(from, () => fs.rename(from.location, target.location))
    return guarded(target, async () => entryOf(target, await fs.lstat(target.location), false))
  }

  /** Deletes a file, a link (not its target) or a folder; one with content only when `recursive`. */
  async remove(path: string, recursive: boolean): Promise<void> {
    const place = await this.#home.entry(path)
    await guarded(place, async () => {
      const stats = await fs.lstat(place.location)
      if (!stats.isDirectory()) return fs.unlink(place.location)
      return recursive
        ? fs.rm(place.location, { recursive: true, maxRetries: 2 })
        : fs.rmdir(place.location)
    })
  }

  /** The first name of `stem`, `stem1`, `stem2`... + `suffix` that is free in a folder. */
  async freeName(folder: string, stem: string, suffix: string): Promise<string> {
    const taken = new Set((await this.list(folder)).map((entry) => entry.name))
    let name = stem + suffix
    for (let count = 1; taken.has(name); count++) name = `${stem}${count}${suffix}`
    return name
  }

  async #regular(path: string): Promise<{ entry: Entry; location: string }> {
    const place = await this.#home.existing(path)
    const stats = await guarded(place, () => fs.stat(place.location))
    if (stats.isFile()) return { entry: entryOf(place, stats, false), location: place.location }
    const what = stats.isDirectory() ? 'a folder' : 'not a regular file'
    throw new HubError('invalid_request', `${calledOf(place)} is ${what}`)
  }

  /** An existing regular file, through its link if it is one, or a name that is free. */
  async #writable(path: string): Promise<Place> {
    const entry = await this.#home.entry(path)
    if (!(await isTaken(entry))) return this.#home.newEntry(path)
    const { location } = await this.#regular(path)
    return { ...entry, location }
  }

  async #listed(folder: Place, name: string): Promise<Entry | null> {
    const path = folder.path === '' ? name : `${folder.path}/${name}`
    const place = { path, name, location: join(folder.location, name) }
    try {
      const link = await fs.lstat(place.location)
      if (!link.isSymbolicLink()) return entryOf(place, link, false)
      const target = await fs.realpath(place.location).catch(() => null)
      if (target === null || !this.#home.holds(target)) return entryOf(place, link, true)
      return entryOf(place, await fs.stat(target), false)
    } catch {
      return null
    }
  }
}

async function expectState(place: Place, expected: Expectation): Promise<void> {
  if (expected.absent === true && (await isTaken(place))) {
    throw new Conflict(`"${place.path}" exists already`)
  }
  if (expected.etag === undefined) return
  const stats = await fs.stat(place.location).catch(() => null)
  if (stats === null) throw new Conflict(`"${place.path}" has been deleted meanwhile`)
  if (etagOf(stats) !== expected.etag) throw new Conflict(`"${place.path}" has changed on disk`)
}

async function guarded<T>(place: Pick<Place, 'path'>, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw fileError(error, place)
  }
}

function entryOf(place: Place, stats: Stats, outside: boolean): Entry {
  const kind = stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : 'other'
  return {
    name: place.name,
    path: place.path,
    kind,
    outside,
    size: kind === 'file' ? stats.size : null,
    modified: stats.mtime,
    created: stats.birthtime,
    writable: (stats.mode & 0o222) !== 0,
    etag: etagOf(stats),
  }
}

function etagOf(stats: Stats): string {
  return `"${stats.ino.toString(36)}-${stats.size.toString(36)}-${stats.mtimeMs.toString(36)}"`
}
