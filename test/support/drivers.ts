import { authenticators } from '../../authenticators/index.ts'
import type { Drivers } from '../../hub/config.ts'
import { configurableHttpProxy } from '../../proxy/client.ts'
import { spawners } from '../../spawners/index.ts'

/** The built-in drivers, as the hub offers them to configs. */
export const drivers: Drivers = { authenticators, proxies: [configurableHttpProxy], spawners }
