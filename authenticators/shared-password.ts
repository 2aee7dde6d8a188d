import { type AuthenticatorContext, defineAuthenticator, type Verdict } from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import { sameSecret } from './secret.ts'

const schema = z
  .strictObject({
    /** The password of everybody but admins. Not set: they cannot log in. */
    userPassword: z.string().min(8, 'must have 8 characters or more').optional(),
    /** The password of `adminUsers`, who cannot use the other one. Not set: they cannot log in. */
    adminPassword: z.string().min(32, 'must have 32 characters or more').optional(),
    /** Further passwords, each putting those who use it into groups. Needs `manageGroups`. */
    passwordGroups: z
      .array(
        z.strictObject({
          password: z.string().min(8, 'must have 8 characters or more'),
          groups: z.array(z.string().min(1)).min(1),
        }),
      )
      .default([]),
  })
  .superRefine((options, context) => {
    const passwords = passwordsOf(options)
    if (passwords.length === 0)
      context.addIssue({
        code: 'custom',
        path: ['userPassword'],
        message: 'is required, or adminPassword: nobody could log in',
      })
    if (new Set(passwords).size < passwords.length)
      context.addIssue({
        code: 'custom',
        path: ['adminPassword'],
        message: 'must differ from all other passwords here, and they from each other',
      })
  })

type Options = z.output<typeof schema>

/**
 * One password for everybody, and a stronger one for admins: for a workshop among people who trust
 * each other, since anybody may come as anybody else. JupyterHub: SharedPasswordAuthenticator.
 */
export const sharedPassword = defineAuthenticator({
  name: 'shared-password',
  config: schema,
  create(options, context) {
    if (options.passwordGroups.length > 0 && !context.manageGroups)
      throw new HubError(
        'invalid_request',
        "authenticator.passwordGroups needs 'authenticator.manageGroups: true'",
      )
    context.log.warn(
      'everybody shares one password: whoever knows it may log in as whomever they like',
    )
    return { authenticate: ({ form }) => Promise.resolve(judge(options, context, form)) }
  },
})

function judge(
  { userPassword, adminPassword, passwordGroups }: Options,
  context: AuthenticatorContext,
  form: Readonly<Record<string, string>>,
): Verdict {
  const userName = form['username'] ?? ''
  const given = form['password'] ?? ''
  const matches = (password: string | undefined): boolean =>
    sameSecret(given, password ?? '') && password !== undefined
  // All are compared, whoever it is, so that the time tells nothing.
  const isUsers = matches(userPassword)
  const isAdmins = matches(adminPassword)
  const found = passwordGroups.filter(({ password }) => matches(password))
  const admin = context.isAdmin(userName)
  if (userName === '') return { kind: 'denied', reason: 'no user name' }
  if (admin ? !isAdmins : !isUsers && found.length === 0)
    return { kind: 'denied', reason: `wrong password for ${admin ? 'an admin' : 'a user'}` }
  const groups =
    context.manageGroups && !admin ? { groups: found.flatMap((each) => each.groups) } : {}
  return { kind: 'identified', identity: { userName, admin, ...groups } }
}

function passwordsOf(options: {
  readonly userPassword?: string | undefined
  readonly adminPassword?: string | undefined
  readonly passwordGroups: readonly { readonly password: string }[]
}): readonly string[] {
  const { userPassword, adminPassword, passwordGroups } = options
  const all = [userPassword, adminPassword, ...passwordGroups.map(({ password }) => password)]
  return all.filter((password) => password !== undefined)
}
