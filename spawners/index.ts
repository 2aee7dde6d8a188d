import type { SpawnerDriver } from 'portico/spawner'
import { local } from './local.ts'
import { simple } from './simple.ts'

/** The spawners that come with Portico. A site adds its own by naming a module in the config. */
export const spawners: readonly SpawnerDriver[] = [local, simple]

export { embeddedCommand, isEmbeddedCommand, settleCommand } from './command.ts'
