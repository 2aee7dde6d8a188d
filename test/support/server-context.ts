import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { adopt, parseIdentity } from 'portico/process'
import type { Exit, Json, ServerContext } from 'portico/spawner'

/** The hub's side of one server, as far as a spawner sees it; keeps what the spawner says. */
export interface RecordedContext extends ServerContext {
  readonly saved: Json
  readonly exits: Exit[]
  readonly messages: string[]
}

/** Ends with the test: what was saved is stopped and the folder of the log is removed. */
export function recordedContext(
  t: TestContext,
  overrides: Partial<ServerContext> = {},
): RecordedContext {
  const folder = mkdtempSync(join(tmpdir(), 'portico-server-'))
  const userName = overrides.userName ?? 'ada'
  const token = randomBytes(16).toString('hex')
  const everSaved: Json[] = []
  const exits: Exit[] = []
  const messages: string[] = []
  t.after(async () => {
    for (const state of everSaved) await stopSaved(state)
    rmSync(folder, { recursive: true })
  })
  const context = {
    userName,
    serverName: '',
    env: (bind: URL) => serverEnvironment(bind, userName, token),
    userOptions: null,
    saved: null as Json,
    logFile: join(folder, 'server.log'),
    exits,
    messages,
    progress: (message: string) => void messages.push(message),
    exited: (exit: Exit) => void exits.push(exit),
    ...overrides,
    save: async (state: Json) => {
      everSaved.push(state)
      await overrides.save?.(state)
      context.saved = state
    },
  }
  return context
}

function serverEnvironment(bind: URL, userName: string, token: string): Record<string, string> {
  const prefix = `/user/${encodeURIComponent(userName)}/`
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    JUPYTERHUB_API_TOKEN: token,
    JUPYTERHUB_USER: userName,
    JUPYTERHUB_SERVICE_PREFIX: prefix,
    JUPYTERHUB_SERVICE_URL: new URL(prefix, bind).href,
  }
}

async function stopSaved(state: Json): Promise<void> {
  if (typeof state !== 'object' || state === null || !('identity' in state)) return
  const identity = parseIdentity(state['identity'])
  if (identity) await adopt(identity).stop([['SIGKILL', 5_000]])
}
