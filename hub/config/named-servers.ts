import { z } from 'zod'
import { count, hook } from './values.ts'

/** Gives one user's limit of named servers; 0: none. */
export type NamedServerLimit = (user: {
  readonly userName: string
  readonly admin: boolean
}) => number | Promise<number>

/** Options of `hub` about servers that have a name. */
export const namedServerOptions = {
  /** Lets users have servers besides their default one. */
  allowNamedServers: z.boolean().default(false),
  /** Named servers that one user may have, running or not: a number or a function of the user. 0: no limit. */
  namedServerLimitPerUser: z.union([count, hook<NamedServerLimit>()]).default(0),
  /** Server that `/hub/user-redirect/` leads to, when named servers are allowed. Empty: the default server. */
  defaultServerName: z.string().default(''),
  /** What may be done with servers whose names are no safe slugs: start them, only delete them, or rename them when the hub starts. */
  allowExistingInvalidNamedServers: z
    .enum(['allow-start', 'allow-delete', 'autorename'])
    .default('allow-start'),
}

export type NamedServerOptions = z.output<z.ZodObject<typeof namedServerOptions>>
