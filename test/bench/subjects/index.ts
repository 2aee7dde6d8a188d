import type { Subject } from '../subject.ts'
import { api } from './api.ts'
import { login } from './login.ts'
import { logins } from './logins.ts'
import { memory } from './memory.ts'
import { quickStart } from './quick-start.ts'
import { servers } from './servers.ts'
import { startup } from './startup.ts'

/** All that can be measured, in the order in which it is: memory first, while the hubs are idle. */
export const subjects: readonly Subject[] = [
  quickStart,
  startup,
  memory,
  api,
  login,
  logins,
  servers,
]
