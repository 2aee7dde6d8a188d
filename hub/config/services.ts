import { resolve } from 'node:path'
import { z } from 'zod'
import { decodeOptions, type Report, reportUnknown, type Section } from './decode.ts'
import { httpUrl, isLoopback } from './values.ts'

/** A token as a service may be given it. */
export const serviceToken = z
  .string()
  .regex(/^[\x21-\x7e]{8,}$/, 'needs 8 or more characters without spaces: take 32 random ones')

const variableName = z.string().regex(/^[A-Za-z_]\w*$/, 'is no name of an environment variable')

/** An http(s) url as it was written: it goes to the service unchanged. */
const serviceUrl = z.string().superRefine((text, context) => {
  for (const { message } of httpUrl.safeParse(text).error?.issues ?? [])
    context.addIssue({ code: 'custom', message })
})

/** What may be the name of a service: it becomes part of paths, cookies and scopes. */
export const serviceName = z
  .string()
  .regex(
    /^[\p{L}\p{N}][\p{L}\p{N}._~@+-]{0,127}$/u,
    'is no name of a service: letters, digits and . _ ~ @ + - , beginning with a letter or digit',
  )

/** Path of this site, or an absolute url without a fragment (RFC 6749 section 3.1.2). */
const redirectUri = z
  .string()
  .max(2000)
  .regex(
    /^(?:\/(?![/\\])|https?:\/\/[^/])[^\s#\\]*$/,
    'must be a path, or an http(s) url without fragment',
  )
  .refine((text) => text.startsWith('/') || URL.canParse(text), { error: 'is not a url' })

/** Parts of a service that may also be given at run time, through the API. */
export const serviceOptions = {
  /** Where the service listens; makes the proxy serve it at `/services/NAME/`. */
  url: serviceUrl.optional(),
  /** Gives the service the role `admin`. Deprecated: name it in a role of `hub.loadRoles`. */
  admin: z.boolean().default(false),
  /** Anything about the service that the API tells. */
  info: z.record(z.string(), z.json()).default({}),
  /** Shows a link to the service to everybody who may open it. */
  display: z.boolean().default(true),
  /** OAuth client id; begins with `service-`. Default: `service-NAME`. */
  oauthClientId: z
    .string()
    .regex(/^service-[\w.~@%+-]{1,200}$/, "must begin with 'service-' and hold no spaces")
    .optional(),
  /** Where logins return to. Default: `oauth_callback` below the service's prefix. */
  oauthRedirectUri: redirectUri.optional(),
  /** Scopes that tokens of people who log in to the service may have, besides access to it. */
  oauthClientAllowedScopes: z.array(z.string().min(1)).default([]),
  /** Logs people in without asking them. */
  oauthNoConfirm: z.boolean().default(false),
}

/** One entry of `services`. JupyterHub: items of `JupyterHub.services`. */
export const serviceSchema = z.strictObject({
  name: serviceName,
  ...serviceOptions,
  /**
   * The service's token: itself, or where it stands. Default: none, or for a managed service a new
   * one at every start of it. JupyterHub has no `{ env }` and `{ file }`.
   */
  apiToken: z
    .union(
      [
        serviceToken,
        z.strictObject({ env: variableName }),
        z.strictObject({ file: z.string().min(1) }),
      ],
      { error: "must be a token of 8 or more characters, { env: 'NAME' } or { file: 'PATH' }" },
    )
    .optional(),
  /** Program and arguments: the hub starts it and starts it again when it ends. */
  command: z
    .union([
      z
        .string()
        .min(1)
        .transform((file) => [file]),
      z.array(z.string()),
    ])
    .default([])
    .refine((command) => command[0] !== '', { error: 'must begin with a program' }),
  /** Working directory. Default: the config file's folder, or the home of `user`. */
  cwd: z.string().min(1).optional(),
  /** Variables for the command; they win over the hub's. */
  environment: z
    .record(
      variableName,
      z.string().refine((value) => !value.includes('\0'), { error: 'must not hold a NUL' }),
    )
    .default({}),
  /** Demands PKCE (S256) of logins to the service. No JupyterHub name. */
  oauthRequirePkce: z.boolean().default(false),
  /** Account under which the command runs; the hub must be root. Default: the hub's own. */
  user: z.string().min(1).optional(),
  /** Seconds within which the service should answer at `url`; only the log tells when it does not. */
  timeout: z.number().positive().default(30),
})

/** One service of the config. Its token may be in here: only `redact` makes it fit for printing. */
export interface ServiceOptions extends z.output<typeof serviceSchema> {}

/**
 * Decodes the section `services`, entry by entry and option by option, so that each mistake is
 * reported. Relative paths start from `folder`.
 */
export function decodeServices(
  input: unknown,
  folder: string,
  report: Report,
): readonly ServiceOptions[] {
  if (input === undefined) return []
  if (!Array.isArray(input)) {
    report('services', 'must be a list of objects')
    return []
  }
  const services = input.flatMap((entry: unknown, index) =>
    decodeService(entry, index, folder, report),
  )
  reportRepeated(services, report)
  return services
}

function decodeService(
  entry: unknown,
  index: number,
  folder: string,
  report: Report,
): readonly ServiceOptions[] {
  const path = `services[${index}]`
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    report(path, 'must be an object')
    return []
  }
  const section = entry as Section
  reportUnknown(path, section, { [path]: Object.keys(serviceSchema.shape) }, report)
  const service = decodeOptions(path, serviceSchema, section, report)
  reportContradictions(path, service, report)
  const { apiToken, cwd } = service
  return [
    {
      ...service,
      ...(cwd === undefined ? {} : { cwd: resolve(folder, cwd) }),
      ...(cwd === undefined && service.user === undefined ? { cwd: folder } : {}),
      ...(typeof apiToken === 'object' && 'file' in apiToken
        ? { apiToken: { file: resolve(folder, apiToken.file) } }
        : {}),
    },
  ]
}

function reportContradictions(path: string, service: ServiceOptions, report: Report): void {
  const { url, oauthRedirectUri, oauthClientId, oauthClientAllowedScopes, oauthNoConfirm } = service
  const usesOauth =
    oauthClientId !== undefined || oauthNoConfirm || oauthClientAllowedScopes.length > 0
  if (usesOauth && url === undefined && oauthRedirectUri === undefined)
    report(
      `${path}.oauthRedirectUri`,
      'is required for OAuth without url: where do logins return to?',
    )
  if (service.command.length > 0) return
  for (const name of ['user', 'cwd'] as const)
    if (service[name] !== undefined)
      report(`${path}.${name}`, 'is for services that the hub starts: give it a command')
}

/** Names, tokens and client ids are how services are told apart. */
function reportRepeated(services: readonly ServiceOptions[], report: Report): void {
  const seen = new Map<string, number>()
  for (const [index, service] of services.entries()) {
    const { name, apiToken, oauthClientId = `service-${name}` } = service
    const keys = { name, oauthClientId, ...(typeof apiToken === 'string' ? { apiToken } : {}) }
    for (const [option, value] of Object.entries(keys)) {
      const key = `${option} ${value}`
      const first = seen.get(key)
      if (first !== undefined)
        report(
          `services[${index}].${option}`,
          `is also that of services[${first}]: each needs its own`,
        )
      else seen.set(key, index)
    }
  }
}

/** Whether login codes would pass the network in the clear (security checklist A2-31). */
export function isClearText(redirectUri: string): boolean {
  if (!redirectUri.startsWith('http:')) return false
  return !isLoopback(new URL(redirectUri).hostname)
}
