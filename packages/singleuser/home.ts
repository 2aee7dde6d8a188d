import { lstat, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { HubError } from '../core/errors.ts'

/** A place below the root: what the user calls it, and where it is. */
export interface Place {
  /** Path below the root with `/` between names and none at the ends; empty for the root. */
  readonly path: string
  readonly name: string
  /** Absolute, with every symbolic link resolved but perhaps that of the last name. */
  readonly location: string
}

/**
 * The folder that the file view shows. Every path of a request becomes a `Place` here or nowhere:
 * dot segments, NUL and links that lead out of the root are refused, after resolving links and
 * comparing whole names (so `/home/adam` is not below `/home/ada`).
 */
export class Home {
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
  }

  /** Throws `not_found` when the folder does not exist. */
  static async open(rootDir: string): Promise<Home> {
    try {
      return new Home(await realpath(rootDir))
    } catch (cause) {
      throw new HubError('not_found', `the folder ${rootDir} cannot be opened`, { cause })
    }
  }

  /** Something that exists, links resolved. Throws `not_found`, also for what lies outside. */
  async existing(encoded: string): Promise<Place> {
    const names = namesOf(encoded)
    return this.#placed(names, await this.#resolve(join(this.#root, ...names), names))
  }

  /**
   * The name itself, whether or not it exists, and the link rather than its target: for creating,
   * renaming and deleting. Its folder must exist. Throws `invalid_request` for the root.
   */
  async entry(encoded: string): Promise<Place> {
    const names = namesOf(encoded)
    const last = names.at(-1)
    if (last === undefined) throw new HubError('invalid_request', 'the top folder stays as it is')
    const folder = await this.#resolve(join(this.#root, ...names.slice(0, -1)), names)
    return this.#placed(names, join(folder, last))
  }

  /** Like `entry`, for something about to be made: its name must be one that every tool can take. */
  async newEntry(encoded: string): Promise<Place> {
    const place = await this.entry(encoded)
    if (/[\p{Cc}\\]/u.test(place.name) || place.name !== place.name.trim()) {
      const rule = 'no control characters, backslashes or outer spaces'
      throw new HubError('invalid_request', `"${place.name}" cannot be a name: ${rule}`)
    }
    if (Buffer.byteLength(place.name) > 255) {
      throw new HubError('invalid_request', 'a name holds at most 255 bytes')
    }
    return place
  }

  /** Whether a link's target (already resolved) lies below the root. */
  holds(location: string): boolean {
    const prefix = this.#root.endsWith(sep) ? this.#root : this.#root + sep
    return location === this.#root || location.startsWith(prefix)
  }

  #placed(names: readonly string[], location: string): Place {
    return { path: names.join('/'), name: names.at(-1) ?? '', location }
  }

  async #resolve(path: string, names: readonly string[]): Promise<string> {
    const location = await realpath(path).catch(() => null)
    if (location !== null && this.holds(location)) return location
    throw new HubError('not_found', `there is no "${names.join('/')}" here`)
  }
}

/** Decodes once, then splits: `%2F` separates names too, as in Jupyter's contents API. */
function namesOf(encoded: string): string[] {
  const names = decode(encoded)
    .split('/')
    .filter((name) => name !== '')
  const bad = names.find((name) => name === '.' || name === '..' || name.includes('\0'))
  if (bad === undefined) return names
  throw new HubError('not_found', 'a path may not hold ".", ".." or NUL')
}

function decode(encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch (cause) {
    throw new HubError('invalid_request', 'the path is not valid percent-encoding', { cause })
  }
}

/** Whether anything, also a dangling link, has this name. */
export async function isTaken(place: Place): Promise<boolean> {
  return lstat(place.location).then(
    () => true,
    () => false,
  )
}

const errnoCodes: Readonly<Record<string, [ConstructorParameters<typeof HubError>[0], string]>> = {
  ENOENT: ['not_found', 'it does not exist'],
  ELOOP: ['not_found', 'it is a link that leads nowhere'],
  EACCES: ['forbidden', 'your account may not do that'],
  EPERM: ['forbidden', 'your account may not do that'],
  EROFS: ['forbidden', 'the file system is read-only'],
  EEXIST: ['already_exists', 'that name is taken'],
  ENOTEMPTY: ['already_exists', 'the folder is not empty'],
  ENOTDIR: ['invalid_request', 'a part of its path is not a folder'],
  EISDIR: ['invalid_request', 'it is a folder'],
  EINVAL: ['invalid_request', 'a folder cannot move into itself'],
  ENAMETOOLONG: ['invalid_request', 'the name is too long'],
  EXDEV: ['invalid_request', 'it cannot move to another file system'],
  EBUSY: ['unavailable', 'it is in use'],
  ENOSPC: ['unavailable', 'the disk is full'],
  EDQUOT: ['unavailable', 'your disk quota is used up'],
  EMFILE: ['unavailable', 'too many files are open'],
}

/** A place in a message: quoted, so that its name stands as it is written. */
export function calledOf(place: Pick<Place, 'path'>): string {
  return place.path === '' ? 'the top folder' : `"${place.path}"`
}

/** A file system failure as an error that names the file and the reason; others pass unchanged. */
export function fileError(error: unknown, place: Pick<Place, 'path'>): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const known = Object.hasOwn(errnoCodes, code) ? errnoCodes[code] : undefined
  if (known === undefined) return error
  const [hubCode, reason] = known
  return new HubError(hubCode, `${calledOf(place)}: ${reason}`, { cause: error })
}
