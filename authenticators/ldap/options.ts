import { z } from 'zod'

/** A host name or address, perhaps with a port, or an ldap(s) url. */
const address = z
  .string()
  .min(1)
  .refine((text) => URL.canParse(asUrl(text)) && !/[\s/]/.test(text.replace(/^ldaps?:\/\//, '')), {
    error: "is no server: write for example 'ldap.example.org' or 'ldap.example.org:389'",
  })

/** Attribute names and numeric object identifiers (RFC 4512 section 2.5). */
const attribute = z.string().regex(/^[A-Za-z][\w-]*$|^\d+(?:\.\d+)*$/, 'is no attribute name')

/** A template of which `{username}` is the only changing part. */
const dnTemplate = z
  .string()
  .refine((text) => text.trim() === '' || /\{username\}/.test(text), {
    error: "must hold '{username}'",
  })
  .refine((text) => text.trim() === '' || /[=@\\]/.test(text), {
    error: "must be a DN such as 'uid={username},ou=people,dc=example,dc=org'",
  })

const list = <Entry extends z.ZodType<string>>(entry: Entry) =>
  z.union([entry.transform((one) => [one]), z.array(entry)])

/** JupyterHub's `ldapauthenticator` 2 in camelCase, and what it lacks. */
export const ldapOptions = z
  .strictObject({
    /** The server, or several that hold the same directory: the next is asked when one does not answer. */
    serverAddress: list(address),
    /** Port of servers that name none. Default: 636 with `on_connect`, else 389. */
    serverPort: z.int().min(1).max(65_535).optional(),
    /** `before_bind` is StartTLS, `on_connect` is ldaps; `insecure` is for this machine only. */
    tlsStrategy: z.enum(['before_bind', 'on_connect', 'insecure']).default('before_bind'),
    /** File with the certificates (PEM) that may vouch for the servers. Default: those of Node. */
    tlsCaFile: z.string().min(1).optional(),
    /** Checks the servers' certificates and names. Without it, anybody in between reads passwords. */
    validateServerCert: z.boolean().default(true),
    /** Seconds until a server counts as not answering. */
    connectTimeout: z.number().positive().max(25).default(5),
    /** Seconds that one question may take. */
    operationTimeout: z.number().positive().max(25).default(10),

    /** DNs that are tried in turn; `{username}` is replaced, with everything special in it escaped. */
    bindDnTemplate: list(dnTemplate)
      .default([])
      .transform((all) => all.filter((one) => one.trim() !== '')),
    /** Searches for the entry first, and logs in as the DN that was found. */
    lookupDn: z.boolean().default(false),
    /** `{login_attr}` is `userAttribute`, `{login}` the name. */
    lookupDnSearchFilter: z.string().default('({login_attr}={login})'),
    /** Who searches. Default: nobody in particular (anonymous). */
    lookupDnSearchUser: z.string().min(1).optional(),
    lookupDnSearchPassword: z.string().min(1).optional(),
    /** Its single value takes the place of the name in `bindDnTemplate`. */
    lookupDnUserDnAttribute: attribute.optional(),
    userSearchBase: z.string().min(1).optional(),
    /** The attribute that holds names. */
    userAttribute: attribute.optional(),
    /** Calls the user as `lookupDnUserDnAttribute` says rather than as they typed it. */
    useLookupDnUsername: z.boolean().default(false),
    /**
     * Domains that people may put before or after their name: of `EXAMPLE\ada` and `ada@example.org`
     * only `ada` counts, when these are listed.
     */
    loginDomains: z.array(z.string().regex(/^[^\s@\\]+$/, 'is no domain')).default([]),
    /** Whole names, in lower case and without such a domain, must match. */
    validUsernameRegex: z
      .string()
      .default('^[a-z][.a-z0-9_-]*$')
      .refine(isRegex, { error: 'is no regular expression' }),
    /** Must match exactly one entry; `{userattr}` and `{username}` are replaced. Restricts everybody. */
    searchFilter: z.string().default(''),
    /** Read by `searchFilter`'s search, into auth state. */
    attributes: z.array(attribute).default([]),
    /** Read from the user's entry, into auth state. */
    authStateAttributes: z.array(attribute).default([]),
    /** Profile fields and the attributes they come from, such as `{ display_name: 'displayName' }`. */
    userInfoAttributes: z
      .partialRecord(z.enum(['name', 'display_name', 'initials', 'avatar_url', 'color']), attribute)
      .default({}),

    /** DNs of groups whose members may come in. */
    allowedGroups: z.array(z.string().min(1)).default([]),
    /** DNs of groups whose members are admins; others are not, unless `adminUsers` names them. */
    adminGroups: z.array(z.string().min(1)).default([]),
    /** Which groups hold somebody; `{userdn}` and `{uid}` are replaced. */
    groupSearchFilter: z
      .string()
      .default('(|(member={userdn})(uniqueMember={userdn})(memberUid={uid}))'),
    /** Where all groups lie, for `manageGroups`. Default: only the groups above are known. */
    groupSearchBase: z.string().min(1).optional(),
    groupNameAttribute: attribute.default('cn'),
  })
  .superRefine((options, context) => {
    for (const [path, message] of problemsOf(options))
      context.addIssue({ code: 'custom', path: [path], message })
  })

export type LdapOptions = z.output<typeof ldapOptions>

function* problemsOf(options: {
  readonly serverAddress: readonly string[]
  readonly tlsStrategy: string
  readonly bindDnTemplate: readonly string[]
  readonly lookupDn: boolean
  readonly userSearchBase?: string | undefined
  readonly userAttribute?: string | undefined
  readonly searchFilter: string
  readonly lookupDnSearchUser?: string | undefined
  readonly lookupDnSearchPassword?: string | undefined
  readonly lookupDnUserDnAttribute?: string | undefined
  readonly useLookupDnUsername: boolean
}): Iterable<readonly [string, string]> {
  if (options.serverAddress.length === 0) yield ['serverAddress', 'names no server']
  for (const text of options.serverAddress) {
    const { hostname, protocol } = new URL(asUrl(text))
    if (
      options.tlsStrategy === 'insecure' &&
      !/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname)
    )
      yield [
        'tlsStrategy',
        `'insecure' would send passwords to ${hostname} in clear: use 'before_bind' or 'on_connect'`,
      ]
    if (protocol === 'ldaps:' && options.tlsStrategy !== 'on_connect')
      yield ['tlsStrategy', `must be 'on_connect' for ${text}`]
  }
  if (options.bindDnTemplate.length === 0 && !options.lookupDn)
    yield ['bindDnTemplate', 'is required, unless lookupDn is true']
  const searches = options.lookupDn || options.searchFilter !== ''
  if (searches && (options.userSearchBase === undefined || options.userAttribute === undefined))
    yield ['userSearchBase', 'and userAttribute are required to search for somebody']
  if ((options.lookupDnSearchUser === undefined) !== (options.lookupDnSearchPassword === undefined))
    yield ['lookupDnSearchPassword', 'and lookupDnSearchUser go together: set both or neither']
  if (options.useLookupDnUsername && options.lookupDnUserDnAttribute === undefined)
    yield ['useLookupDnUsername', 'needs lookupDnUserDnAttribute']
}

function isRegex(text: string): boolean {
  try {
    return Boolean(wholeMatch(text))
  } catch {
    return false
  }
}

/** A pattern for whole texts, whatever anchors it has. */
export function wholeMatch(text: string): RegExp {
  return new RegExp(`^(?:${text})$`, 'u')
}

/** The address as an url; a bare host counts as ldap. */
export function asUrl(text: string): string {
  return /^ldaps?:\/\//.test(text) ? text : `ldap://${text}`
}
