import type { Command } from './command.ts'
import { configCheck, configInit, configPrint } from './config.ts'
import { dbBackup, dbCheck, dbUpgrade } from './db.ts'
import { loginLink } from './login-link.ts'
import { start } from './start.ts'
import { stop } from './stop.ts'
import { usersAdmin } from './users.ts'

/** All subcommands of `portico`, as its help lists them; the first is the default. */
export const commands: readonly Command[] = [
  start,
  stop,
  loginLink,
  configInit,
  configCheck,
  configPrint,
  usersAdmin,
  dbBackup,
  dbCheck,
  dbUpgrade,
]
