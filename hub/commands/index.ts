import type { Command } from './command.ts'
import { configCheck, configInit, configPrint } from './config.ts'
import { dbBackup, dbCheck, dbUpgrade } from './db.ts'
import { events } from './events.ts'
import { explain } from './explain.ts'
import { groupCommands } from './groups.ts'
import { loginLink } from './login-link.ts'
import { serverCommands } from './servers.ts'
import { serviceCommands } from './services.ts'
import { shareCommands } from './shares.ts'
import { start } from './start.ts'
import { stop } from './stop.ts'
import { token } from './token.ts'
import { tokenCommands } from './tokens.ts'
import { userCommands } from './users.ts'

/** All subcommands of `portico`, as its help lists them; the first is the default. */
export const commands: readonly Command[] = [
  start,
  stop,
  loginLink,
  configInit,
  configCheck,
  configPrint,
  ...userCommands,
  ...groupCommands,
  ...serverCommands,
  ...tokenCommands,
  token,
  explain,
  ...serviceCommands,
  ...shareCommands,
  events,
  dbBackup,
  dbCheck,
  dbUpgrade,
]
