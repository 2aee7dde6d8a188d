import { BlockList, isIP } from 'node:net'
import {
  type AuthenticatorContext,
  defineAuthenticator,
  type LoginRequest,
  type Verdict,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import { sameSecret } from './secret.ts'

/** Headers of which Node keeps the first value and drops the others, or that HTTP needs itself. */
const taken = new Set(
  `age authorization connection content-length content-type cookie etag expires from host
  if-modified-since if-unmodified-since last-modified location max-forwards proxy-authorization
  referer retry-after server transfer-encoding upgrade user-agent x-forwarded-for`.split(/\s+/),
)

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9-]*$/, 'is no name of a header: letters, digits and dashes only')
  .transform((name) => name.toLowerCase())
  .refine((name) => !taken.has(name), 'has another meaning: take a name such as X-Remote-User')

const schema = z.strictObject({
  /** The header in which the front end says who has logged in there. */
  headerName: headerName.prefault('X-Remote-User'),
  /** Addresses and networks (`10.0.0.0/8`) of the front ends that may say so. */
  trustedPeers: z
    .array(z.string().refine(isNetwork, 'is no address or network, such as 10.0.0.5 or fd00::/8'))
    .min(1, 'must list the front ends that may say who somebody is: anybody could otherwise'),
  /** What the front end sends in `secretHeader`, so that no other program can pretend to be it. */
  secret: z.string().min(32, 'must have 32 characters or more').optional(),
  secretHeader: headerName.prefault('X-Remote-User-Secret'),
  /** Does without `secret`. Every program on this machine and on the front ends' could be anybody. */
  trustWithoutSecret: z.boolean().default(false),
  /** A header with the names of groups, separated by commas. Needs `manageGroups`. */
  groupsHeader: headerName.optional(),
  /** Where logout continues: the front end's own logout. */
  logoutUrl: z.url({ protocol: /^https?$/ }).optional(),
})
type Options = z.output<typeof schema>

/**
 * People who have logged in at a front end before Portico, which says in a header who they are
 * (REMOTE_USER and its kin). The front end must drop that header from what browsers send: only it
 * can, since here both look the same.
 */
export const header = defineAuthenticator({
  name: 'header',
  config: schema,
  create(options, context) {
    checkOptions(options, context)
    const trusted = blockList(options.trustedPeers)
    const { logoutUrl } = options
    return {
      authenticate: (request) => Promise.resolve(judge(options, trusted, request)),
      loginForm: {
        title: 'Log in',
        help: 'You are logged in at the entrance of this site.',
        fields: [],
        failure: 'The entrance of this site does not say who you are. Come in through it.',
      },
      ...(logoutUrl === undefined ? {} : { logoutUrl }),
    }
  },
})

function checkOptions(options: Options, { log, manageGroups }: AuthenticatorContext): void {
  const { secret, trustWithoutSecret, groupsHeader } = options
  if (secret === undefined && !trustWithoutSecret)
    throw new HubError(
      'invalid_request',
      "authenticator.secret is required: every program on this machine can send headers. Or set 'authenticator.trustWithoutSecret: true' where nobody's programs run here or on the front ends",
    )
  if (groupsHeader !== undefined && !manageGroups)
    throw new HubError(
      'invalid_request',
      "authenticator.groupsHeader needs 'authenticator.manageGroups: true'",
    )
  const headers = [options.headerName, groupsHeader].filter((name) => name !== undefined)
  log.info(
    `${options.trustedPeers.join(', ')} must drop ${headers.join(' and ')} from what browsers send, and set it anew`,
  )
}

function judge(options: Options, trusted: BlockList, { headers }: LoginRequest): Verdict {
  const peer = (headers['x-forwarded-for'] ?? '').split(',').at(-1)?.trim() ?? ''
  if (!includes(trusted, peer)) return denied(`${JSON.stringify(peer)} is not in trustedPeers`)
  const { secret, secretHeader, headerName, groupsHeader } = options
  if (secret !== undefined && !sameSecret(headers[secretHeader] ?? '', secret))
    return denied('the front end does not know the secret')
  const userName = decoded(headers[headerName])
  if (userName === null || userName === '') return denied(`no ${headerName} header`)
  // Sent twice, Node joins the values: one of them may be the browser's.
  if (userName.includes(',')) return denied(`${headerName} holds more than one name`)
  if (groupsHeader === undefined) return { kind: 'identified', identity: { userName } }
  // A header that would be empty is often left out: then there are no groups, and none may stay.
  const groups = decoded(headers[groupsHeader] ?? '')
  if (groups === null) return denied(`${groupsHeader} is not UTF-8`)
  return { kind: 'identified', identity: { userName, groups: namesIn(groups) } }
}

/** Node reads headers as Latin-1; front ends send UTF-8. Null when absent or neither. */
function decoded(value: string | undefined): string | null {
  if (value === undefined) return null
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(value, 'latin1')).trim()
  } catch {
    return null
  }
}

const namesIn = (text: string): readonly string[] =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')

const denied = (reason: string): Verdict => ({ kind: 'denied', reason })

function isNetwork(text: string): boolean {
  const [address = '', prefix] = text.split('/')
  const family = isIP(address)
  if (family === 0 || text.split('/').length > 2) return false
  return (
    prefix === undefined || (/^\d+$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128))
  )
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix] = network.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    list.addSubnet(address, Number(prefix ?? (family === 'ipv6' ? 128 : 32)), family)
  }
  return list
}

function includes(list: BlockList, peer: string): boolean {
  const address = peer.replace(/^::ffff:/i, '')
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
}
