import type { Request, Response, Router } from 'express'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import { allows } from '../../packages/core/scopes.ts'
import { escapeSegment } from '../../packages/core/slug.ts'
import { type Access, type Caller, rawScopesOf, requireScope } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { ListedToken, NewApiToken, Tokens } from '../domain/tokens.ts'
import type { User } from '../domain/users.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'
import { scopeInWords } from './scope-words.ts'
import { lifeChoices, type LifeChoice, wantedToken } from './token-form.ts'

export interface TokenPageDeps {
  readonly pages: Pages
  readonly access: Access
  readonly tokens: Tokens
  readonly activity: Activity
  readonly options: { readonly tokenExpiresInMaxSeconds: number }
}

type Visitor = Caller & { readonly user: User }

/** What the form has led to; at most one of `secret` and `error` is not empty. */
interface Outcome {
  readonly secret: string
  readonly error: string
  readonly note: string
  readonly status: number
}

const nothingYet: Outcome = { secret: '', error: '', note: '', status: 200 }

/**
 * `/hub/token`: a user's tokens, where they are made and revoked (wire section 9). The page's script
 * uses the REST API; without it, the form comes here.
 */
export function tokenPage(deps: TokenPageDeps): Router {
  const { pages, access, tokens, options } = deps
  const choices = lifeChoices(options.tokenExpiresInMaxSeconds)
  const router = strictRouter()

  router.get('/token', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (caller) await show(deps, req, res, { caller, choices, outcome: nothingYet })
  })

  router.post('/token', async (req, res) => {
    await pages.checkXsrf(req)
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    await requireScope(access, caller, ['tokens'], { kind: 'user', user: caller.user.name })
    const outcome = await create(tokens, caller, () => wantedToken(req.body, choices))
    await show(deps, req, res, { caller, choices, outcome })
  })

  return router
}

async function create(
  tokens: Tokens,
  { user, name }: Visitor,
  read: () => NewApiToken,
): Promise<Outcome> {
  let note = ''
  try {
    const wanted = read()
    note = wanted.note
    const { secret } = await tokens.create(user, wanted, name)
    return { ...nothingYet, secret }
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    return { ...nothingYet, error: error.message, note, status: statusOf[error.code] }
  }
}

async function show(
  deps: TokenPageDeps,
  req: Request,
  res: Response,
  about: {
    readonly caller: Visitor
    readonly choices: readonly LifeChoice[]
    readonly outcome: Outcome
  },
): Promise<void> {
  const { pages, access, tokens } = deps
  const { caller, choices, outcome } = about
  const { status, ...data } = outcome
  const { name } = caller.user
  const resource = { kind: 'user', user: name } as const
  await requireScope(access, caller, ['read:tokens'], resource)
  const all = await tokens.of(caller.user)
  await pages.show(
    req,
    res,
    'token',
    {
      ...data,
      ...listsOf(deps, all),
      choices,
      offered: offeredScopes(deps, caller),
      apiUrl: `${pages.urls.hubPrefix}api/users/${escapeSegment(name)}/tokens`,
      mayChange: allows(caller.scopes, 'tokens', resource),
    },
    status,
  )
}

/** Made by the user, by applications for the user, and by the hub for the user's servers. */
function listsOf(deps: TokenPageDeps, all: readonly ListedToken[]) {
  const view = (token: ListedToken) => tokenView(deps, token)
  return {
    tokens: all.filter(({ client, serverId }) => client === null && serverId === null).map(view),
    serverTokens: all.filter(({ serverId }) => serverId !== null).map(view),
    applications: applicationsOf(deps, all),
  }
}

function tokenView({ activity, access }: TokenPageDeps, token: ListedToken) {
  const usedAt = activity.latest('token', token.id, token.lastActivityAt)
  return {
    id: `a${token.id}`,
    note: token.note,
    createdAt: token.createdAt.toISOString(),
    usedAt: usedAt?.toISOString() ?? null,
    expiresAt: token.expiresAt?.toISOString() ?? null,
    scopes: token.raw.map((raw) => scopeInWords(raw, access.catalogue)),
  }
}

/** One entry for each OAuth client: any of its tokens, revoked, ends them all. */
function applicationsOf(deps: TokenPageDeps, all: readonly ListedToken[]) {
  const byClient = new Map<number, ListedToken[]>()
  for (const token of all)
    if (token.client)
      byClient.set(token.client.id, [...(byClient.get(token.client.id) ?? []), token])
  return [...byClient.values()].map((ofClient) => {
    const views = ofClient.map((token) => tokenView(deps, token))
    const raw = new Set(ofClient.flatMap((token) => rawScopesOf({ ...token, scopes: token.raw })))
    const moments = (of: 'createdAt' | 'usedAt') =>
      views.flatMap((view) => view[of] ?? []).toSorted()
    return {
      id: views[0]?.id ?? '',
      note: ofClient[0]?.client?.description ?? '',
      count: ofClient.length,
      createdAt: moments('createdAt')[0] ?? null,
      usedAt: moments('usedAt').at(-1) ?? null,
      scopes: [...raw].map((scope) => scopeInWords(scope, deps.access.catalogue)),
    }
  })
}

/** What a token may be limited to: everything that the caller holds, each scope by itself. */
function offeredScopes({ access }: TokenPageDeps, { scopes, user }: Visitor) {
  const own = `!user=${user.name}`
  const raw = [...scopes].filter((scope) => scope !== 'inherit')
  return raw
    .map((scope) => (scope.endsWith(own) ? `${scope.slice(0, -own.length)}!user` : scope))
    .toSorted((one, other) => (one < other ? -1 : 1))
    .map((scope) => scopeInWords(scope, access.catalogue))
}
