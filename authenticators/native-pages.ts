import { randomBytes } from 'node:crypto'
import {
  type AuthenticatorPage,
  type AuthenticatorRoute,
  type LoginField,
  nameKey,
  otpField,
  type RouteVisit,
} from 'portico/authenticator'
import type { NativeParts } from './native.ts'
import { passwordProblem } from './password-rules.ts'
import { fromBase32, toBase32, totpStep, totpUri } from './totp.ts'

/** Names that are safe in paths, on command lines and before other eyes; others have no password. */
export const nameRule = /^[a-z0-9_][a-z0-9_.@+-]{0,63}$/

const newPassword: readonly LoginField[] = [
  { name: 'password', label: 'New password', type: 'password', autocomplete: 'new-password' },
  { name: 'repeated', label: 'Once more', type: 'password', autocomplete: 'new-password' },
]
const ownPassword: LoginField = {
  name: 'current',
  label: 'Present password',
  type: 'password',
  autocomplete: 'current-password',
}
const codeField: LoginField = { ...otpField('One-time code'), type: 'text', required: true }

/** The pages of sign-up, approval, passwords and one-time codes. */
export function nativePages(parts: NativeParts): readonly AuthenticatorRoute[] {
  const pages = [
    ...page('/signup', 'anyone', () => signupPage(parts), signUp),
    ...page('/signups', 'admin', () => pendingPage(parts), decide),
    ...page('/change-password', 'user', () => passwordPage(), changePassword),
    ...page('/reset-password', 'admin', () => resetPage(), resetPassword),
    ...(parts.options.enableTotp ? page('/one-time-codes', 'user', codesPage, changeCodes) : []),
  ]
  return pages

  function page(
    path: string,
    access: NonNullable<AuthenticatorRoute['access']>,
    show: (visit: RouteVisit, parts: NativeParts) => Page,
    act: (visit: RouteVisit, parts: NativeParts) => Page,
  ): readonly AuthenticatorRoute[] {
    return [
      { method: 'GET', path, access, handle: (_request, visit) => show(visit, parts) },
      { method: 'POST', path, access, handle: (_request, visit) => act(visit, parts) },
    ]
  }
}

type Page = AuthenticatorPage | Promise<AuthenticatorPage>

function signupPage({ options }: NativeParts, error?: string): AuthenticatorPage {
  const invitation: LoginField = {
    name: 'invitation',
    label: options.enableSignup ? 'Invitation, if you have one' : 'Invitation',
    type: 'text',
    autocomplete: 'off',
    required: !options.enableSignup,
    fromFragment: true,
  }
  return {
    kind: 'page',
    ...refused(error),
    title: 'Sign up',
    form: {
      action: '/signup',
      submit: 'Sign up',
      fields: [
        { name: 'username', label: 'Username', type: 'text', autocomplete: 'username' },
        ...newPassword,
        invitation,
      ],
    },
    links: [{ label: 'Log in', path: '/login' }],
  }
}

/** Says the same whether the name is free or not. */
async function signUp(
  { form, peerAddress, signal }: RouteVisit,
  parts: NativeParts,
): Promise<AuthenticatorPage> {
  const { options, context, hasher, invitations } = parts
  const { passwords, log } = context
  const name = nameKey((form['username'] ?? '').trim())
  const code = form['invitation'] ?? ''
  const password = form['password'] ?? ''
  const isInvited = invitations.isOpen(code)
  if (!isInvited && (code !== '' || !options.enableSignup))
    return signupPage(parts, 'The invitation is unknown, used up or has expired.')
  if (!nameRule.test(name))
    return signupPage(
      parts,
      'A name has up to 64 letters a-z, digits and _ . @ + -, and begins with a letter or digit.',
    )
  const problem = passwordProblem(options, { name, password, repeated: form['repeated'] ?? '' })
  if (problem !== null) return signupPage(parts, problem)
  // Whatever becomes of it: a whole class may sign up at one address, and a program shall not.
  using attempt = context.attempt(null, peerAddress)
  await attempt.refused(signal)
  if (!isInvited && (await passwords.countPending()) >= options.maxPending)
    return signupPage(parts, 'Too many sign-ups wait for approval. Try again later.')
  const passwordHash = await hasher.hash(password)
  const isOpen = options.openSignup && !context.isReserved(name)
  const approved = isInvited && invitations.redeem(code) ? true : isOpen ? 'if-new' : false
  const isNew = await passwords.add(name, { passwordHash, approved })
  log.info(`${isNew ? 'sign-up' : 'sign-up for a name that is taken'}: ${JSON.stringify(name)}`)
  return {
    kind: 'page',
    title: 'Thank you',
    text: [thanks(options, approved === true)],
    links: [{ label: 'Log in', path: '/login' }],
  }
}

/** Nothing of the name itself: a stranger would learn which names the config gives rights to. */
function thanks({ openSignup }: NativeParts['options'], isApproved: boolean): string {
  if (isApproved) return 'If the name was free, you can log in now.'
  return openSignup
    ? 'If the name was free, you can log in now, or once an administrator has looked at your sign-up.'
    : 'If the name was free, an administrator will now look at your sign-up. You can log in once it is approved.'
}

async function pendingPage(
  { context, options }: NativeParts,
  error?: string,
): Promise<AuthenticatorPage> {
  const waiting = await context.passwords.pending(options.maxPending)
  const button = (userName: string, action: string, submit: string) => ({
    action: '/signups',
    submit,
    fields: [],
    hidden: { username: userName, action },
  })
  return {
    kind: 'page',
    ...refused(error),
    title: 'Sign-ups',
    text: [waiting.length === 0 ? 'Nobody waits for approval.' : 'They wait for approval:'],
    entries: waiting.map(({ userName, createdAt, userExisted }) => ({
      title: userName,
      detail: [
        `since ${createdAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
        ...(userExisted ? ['A user of this name exists already: is it the same person?'] : []),
        ...(context.isAdmin(userName) ? ['The config makes this user an admin.'] : []),
      ].join('. '),
      buttons: [button(userName, 'approve', 'Approve'), button(userName, 'discard', 'Discard')],
    })),
    links: [{ label: 'Set a password for somebody', path: '/reset-password' }],
  }
}

async function decide(
  { form, userName }: RouteVisit,
  parts: NativeParts,
): Promise<AuthenticatorPage> {
  const { passwords, log } = parts.context
  const name = form['username'] ?? ''
  const found = await passwords.find(name)
  if (!found || found.approved) return pendingPage(parts, 'That sign-up does not wait any more.')
  if (form['action'] === 'approve') await passwords.approve(name)
  else if (form['action'] === 'discard') await passwords.remove(name)
  else return pendingPage(parts, 'Approve or discard: nothing has been done.')
  log.info(`${userName} has decided on the sign-up of ${JSON.stringify(name)}: ${form['action']}`)
  return pendingPage(parts)
}

function passwordPage(error?: string): AuthenticatorPage {
  return {
    kind: 'page',
    ...refused(error),
    title: 'Change your password',
    text: ['You will be logged out everywhere.'],
    form: {
      action: '/change-password',
      submit: 'Change it',
      fields: [ownPassword, ...newPassword],
    },
  }
}

async function changePassword(visit: RouteVisit, parts: NativeParts): Promise<AuthenticatorPage> {
  const { form, userName } = visit
  const { options, context, hasher } = parts
  const password = form['password'] ?? ''
  const name = userName ?? ''
  const problem = passwordProblem(options, { name, password, repeated: form['repeated'] ?? '' })
  if (problem !== null) return passwordPage(problem)
  if (!(await isOwn(visit, parts))) return passwordPage('That is not your present password.')
  await context.passwords.setPassword(name, await hasher.hash(password))
  await context.endLogins(name)
  context.log.info(`${name} has changed their password`)
  return done('Your password is changed', 'Log in with the new one.')
}

function resetPage(error?: string): AuthenticatorPage {
  return {
    kind: 'page',
    ...refused(error),
    title: 'Set a password for somebody',
    text: ['They are logged out everywhere, and one-time codes are turned off.'],
    form: {
      action: '/reset-password',
      submit: 'Set it',
      fields: [
        { name: 'username', label: 'Username', type: 'text', autocomplete: 'off' },
        ...newPassword,
      ],
    },
  }
}

async function resetPassword(
  { form, userName }: RouteVisit,
  parts: NativeParts,
): Promise<AuthenticatorPage> {
  const { options, context, hasher } = parts
  const { passwords } = context
  const name = nameKey((form['username'] ?? '').trim())
  const password = form['password'] ?? ''
  const problem = passwordProblem(options, { name, password, repeated: form['repeated'] ?? '' })
  if (problem !== null) return resetPage(problem)
  if (!(await passwords.setPassword(name, await hasher.hash(password))))
    return resetPage('Nobody of that name has a password here.')
  await passwords.setTotpSecret(name, null)
  await context.endLogins(name)
  context.log.info(`${userName} has set a password for ${JSON.stringify(name)}`)
  return done('The password is set', `${name} can log in with it.`)
}

async function codesPage(
  { userName, form }: RouteVisit,
  parts: NativeParts,
  error?: string,
): Promise<AuthenticatorPage> {
  const name = userName ?? ''
  const found = await parts.context.passwords.find(name)
  const secret = fromBase32(form['secret'] ?? '') ?? randomBytes(20)
  const isOn = Boolean(found?.totpSecret)
  return {
    kind: 'page',
    ...refused(error),
    title: 'One-time codes',
    text: isOn
      ? ['They are on. To turn them off, type your password and a code.']
      : [
          'Put this into the app on your telephone, then type the code that it shows:',
          toBase32(secret),
          totpUri(secret, name),
        ],
    form: {
      action: '/one-time-codes',
      submit: isOn ? 'Turn them off' : 'Turn them on',
      fields: [ownPassword, codeField],
      hidden: isOn ? {} : { secret: toBase32(secret) },
    },
  }
}

async function changeCodes(visit: RouteVisit, parts: NativeParts): Promise<AuthenticatorPage> {
  const { form, userName } = visit
  const { passwords, log } = parts.context
  const name = userName ?? ''
  const found = await passwords.find(name)
  const given = fromBase32(form['secret'] ?? '')
  const secret = found?.totpSecret ?? given
  if (!found || !secret || secret.length !== 20 || !(await isOwn(visit, parts)))
    return codesPage(visit, parts, 'That is not your present password.')
  const step = totpStep(secret, form['otp'] ?? '', new Date())
  const isRight =
    step !== null && (found.totpSecret === null || (await passwords.takeTotpStep(name, step)))
  if (!isRight) return codesPage(visit, parts, 'That code is wrong or was used before.')
  await passwords.setTotpSecret(name, found.totpSecret ? null : secret)
  if (!found.totpSecret) await passwords.takeTotpStep(name, step)
  log.info(`${name} has turned one-time codes ${found.totpSecret ? 'off' : 'on'}`)
  return done('One-time codes', found.totpSecret ? 'They are off.' : 'They are on.')
}

/** Whether the form holds the password of whoever sends it; guessing here is slow as well. */
async function isOwn(
  { form, userName, peerAddress, signal }: RouteVisit,
  parts: NativeParts,
): Promise<boolean> {
  const { context, hasher } = parts
  const name = userName ?? ''
  using attempt = context.attempt(name, peerAddress)
  const found = await context.passwords.find(name)
  const isRight = await hasher.matches(form['current'] ?? '', found?.passwordHash ?? null)
  if (isRight) attempt.succeeded()
  else await attempt.refused(signal)
  return isRight
}

function refused(error: string | undefined): Pick<AuthenticatorPage, 'error' | 'status'> {
  return error === undefined ? {} : { error, status: 400 }
}

function done(title: string, text: string): AuthenticatorPage {
  return { kind: 'page', title, text: [text], links: [{ label: 'Home', path: '/home' }] }
}
