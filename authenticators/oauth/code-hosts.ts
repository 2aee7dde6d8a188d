import type { Json } from 'portico/spawner'
import { z } from 'zod'
import { defineOauth } from './define.ts'
import { providerUrl } from './options.ts'
import { accountOf, type Facts, ProviderFailure, textAt, valueAt } from './provider.ts'

/** Pages of a list that are read. */
const mostPages = 20

const part = encodeURIComponent

/** GitHub. Login names can be given up and taken by others: the account is the numeric id. */
export const github = defineOauth({
  name: 'github',
  defaults: { loginService: 'GitHub', scope: [], usernameClaim: 'login', authStateGroupsKey: '' },
  options: {
    githubUrl: providerUrl.default('https://github.com'),
    /** Default: `https://api.github.com`, or below `githubUrl` for a server of one's own. */
    githubApi: providerUrl.optional(),
    /** `org` or `org:team`. Private memberships need the scope `read:org`. */
    allowedOrganizations: z
      .array(z.string().regex(/^[\w.-]+(?::[\w.-]+)?$/, "is neither 'org' nor 'org:team'"))
      .default([]),
    /** Stores teams in auth state; needs the scope `read:org`. */
    populateTeamsInAuthState: z.boolean().default(false),
  },
  *problems({ populateTeamsInAuthState, scope }) {
    if (populateTeamsInAuthState && !scope.includes('read:org'))
      yield ['populateTeamsInAuthState', "needs 'read:org' in scope"]
  },
  provider(options) {
    const site = options.githubUrl.replace(/\/$/, '')
    const api = (
      options.githubApi ??
      (site === 'https://github.com' ? 'https://api.github.com' : `${site}/api/v3`)
    ).replace(/\/$/, '')
    return {
      userKey: 'github_user',
      server: {
        kind: 'oauth2',
        userUrl: `${api}/user`,
        endpoints: {
          issuer: `${site}/login/oauth`,
          authorization_endpoint: `${site}/login/oauth/authorize`,
          token_endpoint: `${site}/login/oauth/access_token`,
        },
      },
      account: ({ user }) => accountOf(site, user['id']),
      async allowedBy(facts) {
        const login = part(textAt(facts.user, 'login') ?? '')
        for (const wanted of options.allowedOrganizations) {
          const [org = '', team] = wanted.split(':')
          const path = team === undefined ? '' : `/teams/${part(team)}`
          const { status } = await facts.get(`${api}/orgs/${part(org)}${path}/members/${login}`)
          if (status === 204) return `authenticator.allowedOrganizations (${wanted})`
        }
        return undefined
      },
      async extraState(facts) {
        const { scope } = facts
        const mayRead = scope.includes('user') || scope.includes('user:email')
        const email = mayRead ? await verifiedEmail(api, facts) : null
        const state: Record<string, Json> = { email }
        if (options.populateTeamsInAuthState)
          state['teams'] = (await allPages(`${api}/user/teams?per_page=100`, facts)) as Json[]
        return state
      },
    }
  },
})

/** The primary address, when GitHub has checked it. */
async function verifiedEmail(api: string, facts: Facts): Promise<string | null> {
  const emails = await allPages(`${api}/user/emails`, facts)
  const primary = emails.find(
    (each) => valueAt(each, 'primary') === true && valueAt(each, 'verified') === true,
  )
  return textAt(primary, 'email') ?? null
}

async function allPages(first: string, { get }: Facts): Promise<readonly unknown[]> {
  const entries: unknown[] = []
  let url: URL | null = new URL(first)
  for (let pages = 0; url !== null && pages < mostPages; pages += 1) {
    const answer = await get(url)
    if (answer.status !== 200 || !Array.isArray(answer.body))
      throw new ProviderFailure(`${url.pathname} cannot be read`, answer.status)
    entries.push(...(answer.body as unknown[]))
    url = answer.next
  }
  return entries
}

/** GitLab. Asks for as little as it needs: without a scope, GitLab grants all the application may. */
export const gitlab = defineOauth({
  name: 'gitlab',
  defaults: {
    loginService: 'GitLab',
    scope: ['read_user'],
    usernameClaim: 'username',
    authStateGroupsKey: '',
  },
  options: {
    gitlabUrl: providerUrl.default('https://gitlab.com'),
    gitlabApiVersion: z.string().regex(/^\d+$/).default('4'),
    /** Full paths, such as `lab/staff`. */
    allowedGitlabGroups: z.array(z.string().min(1)).default([]),
    /** Ids of projects whose developers and above may come in. */
    allowedProjectIds: z.array(z.int().positive()).default([]),
  },
  *problems({ scope, allowedGitlabGroups, allowedProjectIds }) {
    if (scope.length === 0) yield ['scope', "must not be empty: 'read_user' is enough to log in"]
    const asks = allowedGitlabGroups.length + allowedProjectIds.length > 0
    if (asks && !scope.includes('read_api') && !scope.includes('api'))
      yield ['scope', "needs 'read_api' to read who is in groups and projects"]
  },
  provider(options) {
    const site = options.gitlabUrl.replace(/\/$/, '')
    const api = `${site}/api/v${options.gitlabApiVersion}`
    const access = async ({ get, user }: Facts, of: string): Promise<number> => {
      const { status, body } = await get(`${api}/${of}/members/all/${part(String(user['id']))}`)
      const level = status === 200 ? valueAt(body, 'access_level') : 0
      return typeof level === 'number' && valueAt(body, 'state') !== 'blocked' ? level : 0
    }
    return {
      userKey: 'gitlab_user',
      server: {
        kind: 'oauth2',
        userUrl: `${api}/user`,
        endpoints: {
          issuer: site,
          authorization_endpoint: `${site}/oauth/authorize`,
          token_endpoint: `${site}/oauth/token`,
          revocation_endpoint: `${site}/oauth/revoke`,
        },
      },
      account: ({ user }) => accountOf(site, user['id']),
      refusal: ({ user }) =>
        (user['state'] ?? 'active') === 'active' ? null : 'their account is not active at GitLab',
      async allowedBy(facts) {
        for (const group of options.allowedGitlabGroups)
          if ((await access(facts, `groups/${part(group)}`)) > 0)
            return `authenticator.allowedGitlabGroups (${group})`
        for (const project of options.allowedProjectIds)
          if ((await access(facts, `projects/${project}`)) >= 30)
            return `authenticator.allowedProjectIds (${project})`
        return undefined
      },
    }
  },
})

/** Bitbucket. Workspaces are compared by slug or uuid: their names are not unique. */
export const bitbucket = defineOauth({
  name: 'bitbucket',
  defaults: {
    loginService: 'Bitbucket',
    scope: [],
    usernameClaim: 'username',
    authStateGroupsKey: '',
  },
  options: {
    /** Slugs or uuids (`{...}`) of workspaces whose members may come in. */
    allowedTeams: z.array(z.string().min(1)).default([]),
    bitbucketUrl: providerUrl.default('https://bitbucket.org'),
    bitbucketApi: providerUrl.default('https://api.bitbucket.org/2.0'),
  },
  provider(options) {
    const site = options.bitbucketUrl.replace(/\/$/, '')
    const api = options.bitbucketApi.replace(/\/$/, '')
    return {
      userKey: 'bitbucket_user',
      server: {
        kind: 'oauth2',
        userUrl: `${api}/user`,
        endpoints: {
          issuer: site,
          authorization_endpoint: `${site}/site/oauth2/authorize`,
          token_endpoint: `${site}/site/oauth2/access_token`,
        },
      },
      account: ({ user }) => accountOf(site, user['uuid'] ?? user['account_id']),
      async allowedBy(facts) {
        if (options.allowedTeams.length === 0) return undefined
        const team = await findWorkspace(
          `${api}/workspaces?role=member`,
          facts,
          options.allowedTeams,
        )
        return team === undefined ? undefined : `authenticator.allowedTeams (${team})`
      },
    }
  },
})

async function findWorkspace(
  first: string,
  { get }: Facts,
  wanted: readonly string[],
): Promise<string | undefined> {
  let url: URL | null = new URL(first)
  for (let pages = 0; url !== null && pages < mostPages; pages += 1) {
    const { status, body } = await get(url)
    const values = valueAt(body, 'values')
    if (status !== 200 || !Array.isArray(values))
      throw new ProviderFailure('workspaces cannot be read', status)
    const ids = (values as unknown[]).flatMap((each) => [
      textAt(each, 'slug'),
      textAt(each, 'uuid'),
    ])
    const found = wanted.find((team) => ids.includes(team))
    if (found !== undefined) return found
    const next: string | undefined = textAt(body, 'next')
    // The access token goes with the request.
    const isOurs: boolean = next !== undefined && new URL(next, url).origin === url.origin
    url = isOurs ? new URL(next ?? '', url) : null
  }
  return undefined
}
