import { HubError } from '../../packages/core/errors.ts'
import { type Command, type CommandContext, hubFlags, siteFlags } from './command.ts'
import { noHub, reach } from './operator.ts'

export const dbBackup: Command = {
  name: 'db backup',
  summary: 'Copy the database, also while the hub runs.',
  details: 'The copy lies next to the database. The newest three are kept.',
  flags: hubFlags,
  examples: ['db backup'],
  async run(context) {
    const reached = await reach(context)
    if (reached.kind === 'nothing') throw noHub(reached.dataDir, context)
    if (reached.kind === 'hub') {
      const { file } = await reached.client.backupDatabase()
      context.print(file)
      return 0
    }
    const { existingDatabase, withLock } = await import('./offline.ts')
    const { backupDatabase } = await import('../store/database.ts')
    const file = existingDatabase(reached.dataDir)
    context.print(await withLock(reached.dataDir, () => backupDatabase(file)))
    return 0
  },
}

export const dbCheck: Command = {
  name: 'db check',
  summary: 'Look for damage in the database, and say which schema it has.',
  details: 'Changes nothing. Exits 1 when something is wrong.',
  flags: siteFlags,
  examples: ['db check'],
  async run(context) {
    const { existingDatabase } = await import('./offline.ts')
    const { checkDatabase } = await import('../store/database.ts')
    const file = existingDatabase(await dataDirOf(context))
    const { ok, schemaVersion, latest, problems } = checkDatabase(file)
    for (const problem of problems) context.warn(`${file}: ${problem}`)
    if (!ok) return 1
    const newer =
      schemaVersion < latest ? `: '${context.invocation} db upgrade' brings it to ${latest}` : ''
    context.print(`${file}: is fine, schema ${schemaVersion}${newer}`)
    return 0
  },
}

export const dbUpgrade: Command = {
  name: 'db upgrade',
  summary: 'Bring the database to the newest schema, after a copy.',
  details: 'The hub does this at its start, too. It must not run meanwhile.',
  flags: siteFlags,
  examples: ['db upgrade'],
  async run(context) {
    const { existingDatabase, withDatabase } = await import('./offline.ts')
    const { checkDatabase } = await import('../store/database.ts')
    const dataDir = await dataDirOf(context)
    const file = existingDatabase(dataDir)
    const before = checkDatabase(file).schemaVersion
    await withDatabase(dataDir, async () => {})
    const { schemaVersion } = checkDatabase(file)
    context.print(
      before === schemaVersion
        ? `${file}: has the newest schema, ${schemaVersion}`
        : `${file}: went from schema ${before} to ${schemaVersion}`,
    )
    return 0
  },
}

async function dataDirOf(context: CommandContext): Promise<string> {
  const reached = await reach(context)
  if (reached.kind === 'nothing') throw noHub(reached.dataDir, context)
  if (reached.dataDir === null) throw new HubError('invalid_request', 'this needs a --data-dir')
  return reached.dataDir
}
