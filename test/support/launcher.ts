/**
 * Launches a sleeping program and stops for ever at one point of the launch, so that a test can kill
 * it there: `launcher.ts FOLDER POINT`. Prints the point and the identity when it is reached, and
 * writes what it saves to FOLDER/PID.json. With the point `loop` it launches again and again.
 */
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type ProcessIdentity, launch } from 'portico/process'

const [folder = '', point = ''] = process.argv.slice(2)

async function reach(here: string, identity: ProcessIdentity): Promise<void> {
  if (here !== point) return
  console.log(JSON.stringify({ here, identity }))
  await new Promise(() => setInterval(() => {}, 60_000))
}

async function record(identity: ProcessIdentity): Promise<void> {
  await reach('before save', identity)
  const path = join(folder, `${identity.pid}.json`)
  await using file = await open(`${path}.part`, 'wx', 0o600)
  await file.writeFile(JSON.stringify(identity))
  await reach('during save', identity)
  await file.sync()
  await rename(`${path}.part`, path)
  await reach('after save', identity)
}

async function launchOne(): Promise<void> {
  const { identity } = await launch({
    command: ['sh', '-c', 'touch "$1/begun.$$"; sleep 600', 'sh', folder],
    env: { PATH: '/usr/bin:/bin' },
    logFile: join(folder, 'log'),
    save: record,
  })
  await reach('after launch', identity)
}

do await launchOne()
while (point === 'loop')
