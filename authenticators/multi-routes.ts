import {
  type AuthenticatorPage,
  type AuthenticatorRoute,
  type PageForm,
  type PageLink,
  passwordFields,
  type RouteLogin,
  type RouteVisit,
} from 'portico/authenticator'
import { innerName, isOf, type Member, outerVerdict } from './multi-member.ts'

/** The routes of one of several below its name, and its own login form there. */
export function memberRoutes(member: Member): readonly AuthenticatorRoute[] {
  const { name, authenticator } = member
  const own = (authenticator.routes ?? []).map((route): AuthenticatorRoute => {
    const { access } = route
    return {
      ...route,
      path: `/${name}${route.path}`,
      async handle(request, visit) {
        const isStranger = visit.userName !== null && !isOf(member, visit.userName)
        if (access === 'user' && isStranger) return notYours(member)
        const answer = await route.handle(request, innerVisit(member, visit, isStranger))
        if (answer instanceof Response) return answer
        if (answer.kind === 'page') return outerPage(member, answer)
        const { verdict } = answer
        if (typeof verdict !== 'function')
          return { ...answer, verdict: outerVerdict(member, verdict) }
        return { ...answer, verdict: async (signal) => outerVerdict(member, await verdict(signal)) }
      },
    }
  })
  return authenticator.strategy ? own : [...formRoutes(member), ...own]
}

function formRoutes(member: Member): readonly AuthenticatorRoute[] {
  const path = `/${member.name}/login`
  return [
    { method: 'GET', path, handle: (request) => loginPage(member, nextOf(request)) },
    { method: 'POST', path, handle: (request, visit) => logIn(member, request, visit) },
  ]
}

function logIn(member: Member, request: Request, visit: RouteVisit): RouteLogin {
  const { authenticator, usernamePrefix } = member
  const next = nextOf(request)
  const { failure = 'Invalid username or password' } = authenticator.loginForm ?? {}
  const { form, peerAddress } = visit
  const headers = Object.fromEntries(request.headers)
  return {
    kind: 'login',
    async verdict(signal) {
      const asked = { form, headers, peerAddress, signal }
      return outerVerdict(member, await authenticator.authenticate(asked))
    },
    userName: form['username'] ? `${usernamePrefix}${form['username']}` : '',
    ...(next === null ? {} : { next }),
    refusal: { ...loginPage(member, next), error: failure, status: 403 },
  }
}

function loginPage(member: Member, next: string | null): AuthenticatorPage {
  const { name, label, authenticator } = member
  const { loginForm } = authenticator
  const query = next === null ? '' : `?next=${encodeURIComponent(next)}`
  return {
    kind: 'page',
    title: `Log in with ${label}`,
    ...(loginForm?.help ? { text: [loginForm.help] } : {}),
    form: {
      action: `/${name}/login${query}`,
      submit: 'Log in',
      fields: loginForm?.fields ?? passwordFields(member.otpPrompt),
    },
    links: [
      ...(loginForm?.links ?? []).map((link) => outerLink(member, link)),
      { label: 'Log in another way', path: `/login${query}` },
    ],
  }
}

function notYours({ label }: Member): AuthenticatorPage {
  return {
    kind: 'page',
    status: 403,
    title: 'Not your account',
    text: [`You have not logged in with ${label}, and this page is only for people who have.`],
  }
}

function innerVisit(member: Member, visit: RouteVisit, isStranger: boolean): RouteVisit {
  if (visit.userName === null || isStranger) return visit
  return { ...visit, userName: innerName(member, visit.userName) }
}

function outerPage(member: Member, page: AuthenticatorPage): AuthenticatorPage {
  const form = (given: PageForm): PageForm => ({
    ...given,
    action: outerPath(member, given.action),
  })
  return {
    ...page,
    ...(page.form ? { form: form(page.form) } : {}),
    ...(page.entries
      ? { entries: page.entries.map((each) => ({ ...each, buttons: each.buttons.map(form) })) }
      : {}),
    ...(page.links ? { links: page.links.map((link) => outerLink(member, link)) } : {}),
  }
}

/** The link as it is for the hub. */
export function outerLink(member: Member, link: PageLink): PageLink {
  return { ...link, path: outerPath(member, link.path) }
}

/** Its own paths lie below its name, those of the hub stay. */
function outerPath({ name, authenticator }: Member, path: string): string {
  const [bare = ''] = path.split(/[?#]/)
  const isOwn = authenticator.routes?.some((route) => route.path === bare)
  return isOwn ? `/${name}${path}` : path
}

function nextOf(request: Request): string | null {
  return new URL(request.url).searchParams.get('next')
}
