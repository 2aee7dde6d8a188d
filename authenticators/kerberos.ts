import { accessSync, constants } from 'node:fs'
import {
  type Authenticator,
  type AuthenticatorPage,
  defineAuthenticator,
  type RouteLogin,
  type RouteVisit,
  type Verdict,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import type { TicketReply, TicketRequest } from './gssapi.ts'
import { WorkerPool } from './worker-pool.ts'

const path = '/kerberos_login'
/** Bytes: a ticket with the groups of Active Directory is large. */
const longestToken = 65_536

const schema = z.strictObject({
  /** The file with the keys of `HTTP/<host of the hub>`, readable by the hub alone. */
  keytab: z.string().startsWith('/', 'must be an absolute path'),
  /** Whose people may come: of the first, `zoe@REALM` is `zoe`; of others, the realm stays. */
  allowedRealms: z
    .array(z.string().regex(/^[^\s@/]+$/, 'is no realm'))
    .min(1, 'must name the realms whose people may come in'),
  /** What `krb5.conf` to read. Default: the machine's. No JupyterHub name. */
  krb5Config: z.string().startsWith('/', 'must be an absolute path').optional(),
  /** Tickets that are checked at once. No JupyterHub name. */
  workers: z.int().min(1).max(16).default(1),
})
type Options = z.output<typeof schema>
type TicketPool = WorkerPool<TicketRequest, TicketReply>

/**
 * Tickets that browsers of a Kerberos site send by themselves (SPNEGO, RFC 4559), over https only.
 * Needs MIT Kerberos (`libgssapi_krb5.so.2`). Case does not tell people apart: see to it that it does
 * not in the realms either. JupyterHub: KerberosAuthenticator.
 */
export const kerberos = defineAuthenticator({
  name: 'kerberos',
  config: schema,
  // Realms are where people may come from, and do not let them in.
  allows: () => false,
  async create(options, context) {
    const { keytab, krb5Config, workers } = options
    checkKeytab(keytab)
    const pool: TicketPool = new WorkerPool({
      program: 'authenticators/kerberos-worker',
      what: 'Kerberos',
      env: {
        KRB5_KTNAME: `FILE:${keytab}`,
        ...(krb5Config === undefined ? {} : { KRB5_CONFIG: krb5Config }),
      },
      workers,
      waiting: 64,
      patience: 20_000,
      log: context.log,
    })
    try {
      await pool.open()
    } catch (error) {
      await pool.close()
      throw new HubError(
        'unavailable',
        'Kerberos cannot be used: install libgssapi_krb5.so.2 (Debian: libgssapi-krb5-2)',
        { cause: error },
      )
    }
    return authenticatorOf(options, pool)
  },
})

function authenticatorOf(options: Options, pool: TicketPool): Authenticator {
  return {
    authenticate: () => Promise.resolve(denied('Kerberos has no login form')),
    loginForm: {
      title: 'Log in',
      help: 'Your computer logs you in, when it belongs to this site.',
      fields: [],
      isClosed: true,
      links: [{ label: 'Log in with Kerberos', path }],
    },
    routes: [
      {
        method: 'GET',
        path,
        handle: (request, visit) => logIn(options, pool, { request, visit }),
      },
    ],
    close: () => pool.close(),
  }
}

async function logIn(
  options: Options,
  pool: TicketPool,
  { request, visit }: { readonly request: Request; readonly visit: RouteVisit },
): Promise<AuthenticatorPage | RouteLogin> {
  const url = new URL(request.url)
  // Whoever listens on plain http could use the ticket in the browser's place.
  if (url.protocol !== 'https:' && !/^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname))
    return refusal(403, 'Kerberos works here only over https.')
  const token = tokenIn(request.headers.get('authorization'))
  if (token === null)
    return {
      ...refusal(401, 'Your browser has sent no Kerberos ticket for this site.'),
      headers: { 'WWW-Authenticate': 'Negotiate' },
    }
  const reply = await pool.ask({ token }, visit.signal)
  if (reply.kind === 'failed')
    throw new HubError('unavailable', 'Tickets cannot be checked now', {
      cause: new Error(reply.message),
    })
  const next = url.searchParams.get('next')
  return {
    kind: 'login',
    verdict: judge(options, reply),
    ...(next === null ? {} : { next }),
    ...(reply.kind === 'accepted' && reply.answer.length > 0
      ? { headers: { 'WWW-Authenticate': `Negotiate ${base64(reply.answer)}` } }
      : {}),
    refusal: refusal(403, 'This ticket does not let you in.'),
  }
}

/** The token of the header; null for other schemes, and for NTLM, which is not Kerberos. */
function tokenIn(header: string | null): Buffer | null {
  const [, text] = /^negotiate +([A-Za-z0-9+/]+={0,2})$/i.exec(header ?? '') ?? []
  if (text === undefined || text.length > longestToken) return null
  const token = Buffer.from(text, 'base64')
  // RFC 2743 section 3.1: the tag of every first token.
  return token[0] === 0x60 ? token : null
}

function judge({ allowedRealms }: Options, reply: TicketReply): Verdict {
  if (reply.kind !== 'accepted')
    return denied(reply.kind === 'refused' ? `refused: ${reply.reason}` : reply.message)
  const { principal } = reply
  const [name = '', realm = '', ...more] = principal.split('@')
  const quoted = JSON.stringify(principal)
  // `host/x@R` and `ada/admin@R` are not ada, and letters that only look like hers are not either.
  if (more.length > 0 || !/^[\w.+-]+$/.test(name))
    return denied(`${quoted} is not a person's principal`)
  const place = allowedRealms.indexOf(realm)
  if (place < 0) return denied(`the realm of ${quoted} is not in allowedRealms`)
  const userName = place === 0 ? name : principal
  return { kind: 'identified', identity: { userName } }
}

function refusal(status: number, text: string): AuthenticatorPage {
  return {
    kind: 'page',
    status,
    title: 'Log in with Kerberos',
    text: [text],
    links: [{ label: 'Back to the login page', path: '/login' }],
  }
}

function checkKeytab(keytab: string): void {
  try {
    accessSync(keytab, constants.R_OK)
  } catch (error) {
    throw new HubError('invalid_request', `authenticator.keytab: ${keytab} cannot be read`, {
      cause: error,
    })
  }
}

const denied = (reason: string): Verdict => ({ kind: 'denied', reason })
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
