import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { HubError } from '../packages/core/errors.ts'

export interface DataDirChoice {
  /** `--data-dir`, relative to `cwd`. */
  readonly flag?: string | undefined
  /** `hub.dataDir`, absolute. */
  readonly configured?: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  readonly cwd: string
  readonly isRoot: boolean
}

/**
 * Where database, secrets and logs live: the flag, else the config, else `/var/lib/portico` for
 * root and the XDG state directory for others. Never the working directory, unless it is named.
 * https://specifications.freedesktop.org/basedir-spec/latest/
 */
export function chooseDataDir(choice: DataDirChoice): string {
  if (choice.flag !== undefined) return resolve(choice.cwd, choice.flag)
  if (choice.configured !== undefined) return choice.configured
  if (choice.isRoot) return '/var/lib/portico'
  const state = choice.env['XDG_STATE_HOME']
  const base = state && isAbsolute(state) ? state : join(choice.home, '.local', 'state')
  return join(base, 'portico')
}

/**
 * Makes the data directory (0700) or checks it, and returns its real path. An empty directory of
 * our own is made private; one with content is not touched, since others may already hold what is
 * in it. Security checklist A3-39, A3-42.
 * @throws {HubError} `invalid_request` when others own, may read or may replace it.
 */
export function prepareDataDir(dataDir: string): string {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new HubError(
      'invalid_request',
      `${dataDir}: cannot be made: choose another with --data-dir`,
      { cause },
    )
  }
  return checkDataDir(dataDir, { fix: true })
}

/** The same for a command that only looks: an absent directory gives null, and nothing is changed. */
export function findDataDir(dataDir: string): string | null {
  const stats = lstatSync(dataDir, { throwIfNoEntry: false })
  return stats === undefined ? null : checkDataDir(dataDir, { fix: false })
}

function checkDataDir(dataDir: string, { fix }: { readonly fix: boolean }): string {
  const real = realpathSync(dataDir)
  const stats = statSync(real)
  if (!stats.isDirectory()) refuse(`${dataDir}: is not a directory`)
  checkOwner(real, stats)
  for (let folder = dirname(real); ; folder = dirname(folder)) {
    checkAncestor(real, folder)
    if (folder === dirname(folder)) break
  }
  if (stats.mode & 0o077) {
    if (!fix || readdirSync(real).length > 0) refuseMode(real, stats)
    chmodSync(real, 0o700)
  }
  return real
}

function checkOwner(folder: string, stats: Stats): void {
  const own = process.geteuid?.() ?? stats.uid
  if (stats.uid === own) return
  refuse(
    `${folder}: belongs to uid ${stats.uid}, and this command runs as uid ${own}: run it as that ` +
      'account, or choose another with --data-dir',
  )
}

/** How root's folders look inside a user namespace that does not map root. */
const unmappedUid = 65_534

/** Whoever may rename a folder above may put another one in place of ours. */
function checkAncestor(dataDir: string, folder: string): void {
  const stats = statSync(folder)
  const own = process.geteuid?.() ?? 0
  const sticky = (stats.mode & 0o1000) !== 0
  if (![own, 0, unmappedUid].includes(stats.uid) && !sticky) {
    refuse(
      `${dataDir}: lies in ${folder}, which belongs to uid ${stats.uid}, who could replace it: ` +
        'choose another with --data-dir',
    )
  }
  if (stats.mode & 0o002 && !sticky) {
    refuse(
      `${dataDir}: lies in ${folder}, which everybody may write: 'chmod o-w ${folder}', or choose ` +
        'another with --data-dir (rule A3-39)',
    )
  }
}

function refuseMode(dataDir: string, stats: Stats): never {
  const mode = (stats.mode & 0o777).toString(8).padStart(4, '0')
  return refuse(
    `${dataDir}: has mode ${mode}, so that others may read what is in it: 'chmod 700 ${dataDir}', ` +
      'or choose another with --data-dir (rule A3-39)',
  )
}

function refuse(message: string): never {
  throw new HubError('invalid_request', message)
}
