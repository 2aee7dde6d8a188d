/**
 * Starts a server with the local spawner: `start-local.ts USER LOG SERVER`. Prints the cause when it
 * fails, else `running as UID`, and stops it. For tests that start it with fewer rights.
 */
import { statSync } from 'node:fs'
import { type Json, StartFailed } from 'portico/spawner'
import { local } from '../../spawners/local.ts'

const [userName = '', logFile = '', server = ''] = process.argv.slice(2)
let saved: Json = null
const spawner = local.create(local.config.parse({ cmd: [process.execPath, server] }), {
  userName,
  serverName: '',
  env: (bind) => ({ PATH: '/usr/bin:/bin', JUPYTERHUB_SERVICE_URL: bind.href }),
  userOptions: null,
  saved,
  save: async (state) => void (saved = state),
  logFile,
  progress: () => {},
  exited: () => {},
})

try {
  await spawner.start(AbortSignal.timeout(10_000))
  const { identity } = saved as unknown as { identity: { pid: number } }
  console.log(`running as ${statSync(`/proc/${identity.pid}`).uid}`)
  await spawner.stop({ now: true })
} catch (error) {
  if (!(error instanceof StartFailed)) throw error
  console.log(error.exit.cause)
}
