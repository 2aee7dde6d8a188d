import { lstat, mkdir } from 'node:fs/promises'
import { homedir, userInfo } from 'node:os'
import { isAbsolute } from 'node:path'
import { type ServerContext, type Spawner, StartFailed, defineSpawner } from 'portico/spawner'
import { z } from 'zod'
import { LocalProcess, type ServerAccount, processOptions } from './local-process.ts'

const rootRefused =
  'the simple spawner would run servers as root: run the hub as another account, use the local spawner, or set spawner.allowRoot'

const config = z.strictObject({
  ...processOptions,
  /**
   * Absolute home and working directory of the servers, created with mode 0700 when it is missing.
   * `{username}` becomes the user's name, with everything but letters, digits and `-_.!~*'()` as
   * `%XX`. Default: the home of the hub's own account. JupyterHub: `home_dir_template`.
   */
  homeDir: z
    .string()
    .refine(isAbsolute, 'must be absolute, such as /srv/homes/{username}')
    .optional(),
  /** Lets servers run as root when the hub does. Everybody who logs in then owns the machine. */
  allowRoot: z.boolean().default(false),
})

type SimpleConfig = z.output<typeof config>

/**
 * Runs every server as the hub's own account: for one person, and for tests. Users are not
 * protected from each other. JupyterHub: SimpleLocalProcessSpawner.
 */
export const simple = defineSpawner({
  name: 'simple',
  config,
  check: ({ allowRoot }) => {
    if (isRoot() && !allowRoot) throw new Error(rootRefused)
  },
  create: (options, context): Spawner =>
    new LocalProcess(options, context, () => ownAccount(options, context)),
})

async function ownAccount(options: SimpleConfig, context: ServerContext): Promise<ServerAccount> {
  if (isRoot() && !options.allowRoot) {
    throw new StartFailed({ cause: 'permission-denied', code: null, message: rootRefused })
  }
  const { name, home: ownHome, shell } = whoAmI(context.userName)
  const home = options.homeDir ? await makeHome(options.homeDir, context.userName) : ownHome
  const env = { USER: name, LOGNAME: name, HOME: home, SHELL: shell }
  return { prefix: [], home, env, isRoot: isRoot() }
}

/** Containers may run the hub under a uid without an entry in passwd. */
function whoAmI(fallback: string): { name: string; home: string; shell: string } {
  try {
    const { username, homedir: home, shell } = userInfo()
    return { name: username, home, shell: shell ?? '/bin/sh' }
  } catch {
    return { name: fallback, home: homedir(), shell: '/bin/sh' }
  }
}

async function makeHome(template: string, userName: string): Promise<string> {
  const home = template.replaceAll('{username}', () => safeSegment(userName))
  await mkdir(home, { recursive: true, mode: 0o700 })
  const found = await lstat(home)
  if (found.isDirectory() && found.uid === process.getuid?.()) return home
  const message = `The home directory ${home} is a link or belongs to somebody else. An administrator must move it away.`
  throw new StartFailed({ cause: 'home-missing', code: null, message })
}

/** One path segment for a name, different for different names, and never `.` or `..`. */
function safeSegment(userName: string): string {
  return encodeURIComponent(userName).replace(/^\.+/, (dots) => '%2E'.repeat(dots.length))
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}
