import type { Entry } from 'ldapts'
import { type Identity, nameKey, type Verdict } from 'portico/authenticator'
import type { Json } from 'portico/spawner'
import type { DirectoryConnection } from './connection.ts'
import { compileFilter, escapeDnValue, fillIn } from './names.ts'
import { type LdapOptions, wholeMatch } from './options.ts'

/** Most groups that are read of one user. */
const mostGroups = 1000

/** One person who has proved their password. */
interface Person {
  /** As typed, in the normal form. */
  readonly login: string
  /** As the hub calls them. */
  readonly userName: string
  /** Null when the directory knows them by something that is no DN, such as `ada@example.org`. */
  readonly dn: string | null
}

/** The groups of one person, as far as they are asked for. */
interface Groups {
  /** DNs of `allowedGroups`. */
  readonly allowed: readonly string[]
  readonly admin: boolean
  readonly names: readonly string[]
}

/** A refusal; the reason is for the log. */
class Refusal extends Error {}

/** Finds out who somebody is, on one connection. */
export class DirectoryLogin {
  readonly #options: LdapOptions
  readonly #manageGroups: boolean
  readonly #lookupFilter
  readonly #groupFilter
  readonly #searchFilter

  /** @throws {Error} naming the option whose filter is none. */
  constructor(options: LdapOptions, manageGroups: boolean) {
    this.#options = options
    this.#manageGroups = manageGroups
    const { userAttribute = 'uid' } = options
    const compile = (name: 'lookupDnSearchFilter' | 'groupSearchFilter' | 'searchFilter') => {
      const text = fillIn(options[name], { login_attr: userAttribute, userattr: userAttribute })
      try {
        return compileFilter(text)
      } catch (cause) {
        throw new Error(`authenticator.${name} is no LDAP filter: ${text}`, { cause })
      }
    }
    this.#lookupFilter = compile('lookupDnSearchFilter')
    this.#groupFilter = compile('groupSearchFilter')
    this.#searchFilter = options.searchFilter === '' ? null : compile('searchFilter')
  }

  /**
   * The name in its normal form when it and the password may be sent to a directory at all,
   * otherwise why not. An empty password would log in as nobody, and succeed.
   */
  check(typed: string, password: string): { readonly login: string } | string {
    const login = this.#withoutDomain(nameKey(typed))
    if (password.trim() === '') return 'the password is empty'
    // eslint-disable-next-line no-control-regex
    if (/[\u0000-\u001f\u007f]/.test(login) || password.includes('\0'))
      return 'control characters in name or password'
    if (!wholeMatch(this.#options.validUsernameRegex).test(login))
      return 'the name does not match authenticator.validUsernameRegex'
    return { login }
  }

  #withoutDomain(login: string): string {
    const [, before, account] = /^([^@\\]+)\\([^@\\]+)$/.exec(login) ?? []
    const [, name, after] = /^([^@\\]+)@([^@\\]+)$/.exec(login) ?? []
    const isOurs = this.#options.loginDomains.some(
      (domain) => nameKey(domain) === (before ?? after),
    )
    return isOurs ? (account ?? name ?? login) : login
  }

  /** @throws {ServerFailure} when this server could not do it all. */
  async run(connection: DirectoryConnection, login: string, password: string): Promise<Verdict> {
    try {
      const person = await this.#prove(connection, login, password)
      const state = await this.#searchAsUser(connection, person)
      return { kind: 'identified', identity: await this.#describe(connection, person, state) }
    } catch (error) {
      if (error instanceof Refusal) return { kind: 'denied', reason: error.message }
      throw error
    }
  }

  /**
   * Whether somebody can be found again without their password: where the hub may search, knows them
   * by the name that it searches for, and their DN by nothing but that.
   */
  get looksAgain(): boolean {
    const { lookupDn, useLookupDnUsername, bindDnTemplate } = this.#options
    const [only = '=', ...others] = bindDnTemplate
    return lookupDn && !useLookupDnUsername && others.length === 0 && only.includes('=')
  }

  /**
   * The identity with the groups of now; null when there is no such entry any more, or `searchFilter`
   * leaves it out.
   * @throws {ServerFailure}
   */
  async lookAgain(connection: DirectoryConnection, identity: Identity): Promise<Identity | null> {
    try {
      const login = nameKey(identity.userName)
      const found = await this.#lookUp(connection, login)
      const [template] = this.#options.bindDnTemplate
      const dn = template === undefined ? found.dn : dnFrom(template, found.name)
      const person = { login, userName: identity.userName, dn }
      await this.#searchAsUser(connection, person)
      const { allowedBy: _before, admin: _was, ...rest } = identity
      // As `#describe` has made it.
      const state = rest.authState as Readonly<Record<string, Json>> | undefined
      return { ...rest, ...this.#rights(await this.#groupsOf(connection, person), state) }
    } catch (error) {
      if (error instanceof Refusal) return null
      throw error
    }
  }

  async #prove(connection: DirectoryConnection, login: string, password: string): Promise<Person> {
    const { bindDnTemplate, lookupDn, useLookupDnUsername } = this.#options
    const found = lookupDn ? await this.#lookUp(connection, login) : null
    const inTemplates = found?.name ?? login
    const candidates =
      found && bindDnTemplate.length === 0
        ? [found.dn]
        : bindDnTemplate.map((template) => dnFrom(template, inTemplates))
    for (const dn of candidates) {
      if (!(await connection.bind(dn, password))) continue
      const userName = useLookupDnUsername ? inTemplates : login
      const own = dn.includes('=') ? dn : (found?.dn ?? (await this.#findOwnDn(connection, login)))
      const person = { login, userName, dn: own }
      if (!found) await this.#compareNames(connection, person)
      return person
    }
    throw new Refusal('no DN takes this password')
  }

  /** The one entry of this name, with the name that templates want. */
  async #lookUp(connection: DirectoryConnection, login: string) {
    const { userSearchBase = '', userAttribute = 'uid', lookupDnUserDnAttribute } = this.#options
    await this.#becomeSearcher(connection)
    const attributes = [
      userAttribute,
      ...(lookupDnUserDnAttribute ? [lookupDnUserDnAttribute] : []),
    ]
    const entries = await connection.search({
      base: userSearchBase,
      filter: this.#lookupFilter({ login, username: login }),
      scope: 'sub',
      attributes,
      sizeLimit: 2,
    })
    const [entry] = entries
    if (!entry || entries.length > 1) throw new Refusal(`${entries.length} entries have this name`)
    const names = lookupDnUserDnAttribute ? valuesOf(entry, lookupDnUserDnAttribute) : []
    const { useLookupDnUsername } = this.#options
    requireSameName(
      [...valuesOf(entry, userAttribute), ...(useLookupDnUsername ? names : [])],
      login,
    )
    if (lookupDnUserDnAttribute === undefined) return { dn: entry.dn, name: login }
    const [name] = names
    if (name === undefined || names.length > 1)
      throw new Refusal(`the entry has ${names.length} values of ${lookupDnUserDnAttribute}`)
    return { dn: entry.dn, name }
  }

  /** @throws {Error} when the account of the config is refused: that is nobody's wrong password. */
  async #becomeSearcher(connection: DirectoryConnection): Promise<void> {
    const { lookupDnSearchUser: user, lookupDnSearchPassword: password } = this.#options
    if (user === undefined || password === undefined) return
    if (!(await connection.bind(user, password)))
      throw new Error('the directory refuses authenticator.lookupDnSearchUser')
  }

  /** The DN of somebody who has logged in under another kind of name. */
  async #findOwnDn(connection: DirectoryConnection, login: string): Promise<string | null> {
    const { userSearchBase, userAttribute } = this.#options
    if (userSearchBase === undefined || userAttribute === undefined) return null
    const entries = await connection.search({
      base: userSearchBase,
      filter: compileFilter(`(${userAttribute}={login})`)({ login }),
      scope: 'sub',
      attributes: [userAttribute],
      sizeLimit: 2,
    })
    const [entry] = entries
    if (!entry || entries.length > 1) throw new Refusal(`${entries.length} entries have this name`)
    requireSameName(valuesOf(entry, userAttribute), login)
    return entry.dn
  }

  /**
   * Directories find `ada` under many spellings. The entry must say the same name as the one the
   * hub will use; where it cannot be read, only a spelling that has no twins will do.
   */
  async #compareNames(connection: DirectoryConnection, { dn, login }: Person): Promise<void> {
    const attribute = this.#options.userAttribute ?? (dn === null ? undefined : rdnAttribute(dn))
    const [entry] =
      dn === null || attribute === undefined
        ? []
        : await connection.search({ base: dn, scope: 'base', attributes: [attribute] })
    const names = entry && attribute !== undefined ? valuesOf(entry, attribute) : []
    if (names.length > 0) requireSameName(names, login)
    else if (!/^[a-z0-9][a-z0-9._-]*$/.test(login))
      throw new Refusal('their entry cannot be read, and the name has other spellings')
  }

  /** `searchFilter`, asked as the user, or as the searcher later: exactly one entry, or they may not come in. */
  async #searchAsUser(connection: DirectoryConnection, person: Person): Promise<Entry | null> {
    const { userSearchBase = '', attributes } = this.#options
    if (!this.#searchFilter) return null
    const { login: username, dn } = person
    const entries = await connection.search({
      base: userSearchBase,
      filter: this.#searchFilter({ username, userdn: dn ?? '' }),
      scope: 'sub',
      attributes,
      sizeLimit: 2,
    })
    const [entry] = entries
    if (entry && entries.length === 1) return entry
    throw new Refusal(`authenticator.searchFilter matches ${entries.length} entries`)
  }

  async #describe(
    connection: DirectoryConnection,
    person: Person,
    searched: Entry | null,
  ): Promise<Identity> {
    const { authStateAttributes, userInfoAttributes, attributes } = this.#options
    const wanted = [...authStateAttributes, ...Object.values(userInfoAttributes)]
    const entry = await this.#read(connection, person.dn, wanted)
    const groups = await this.#groupsOf(connection, person)
    const profile = Object.entries(userInfoAttributes).flatMap(([field, attribute]) => {
      const [value] = entry ? valuesOf(entry, attribute) : []
      return value === undefined ? [] : [[field, value] as const]
    })
    return {
      userName: person.userName,
      ...(profile.length === 0 ? {} : { userInfo: Object.fromEntries(profile) }),
      ...this.#rights(groups, {
        user_attributes: {
          ...pick(entry, authStateAttributes),
          ...pick(searched, attributes),
        },
      }),
    }
  }

  /** What groups give; `state` is the rest of the auth state, where it is kept. */
  #rights(groups: Groups, state: Readonly<Record<string, Json>> | undefined): Partial<Identity> {
    const [allowing] = groups.allowed
    return {
      ...(allowing === undefined ? {} : { allowedBy: `authenticator.allowedGroups (${allowing})` }),
      ...(this.#options.adminGroups.length === 0 ? {} : { admin: groups.admin }),
      ...(this.#manageGroups ? { groups: groups.names } : {}),
      ...(state ? { authState: { ...state, ldap_groups: [...groups.allowed] } } : {}),
    }
  }

  async #read(
    connection: DirectoryConnection,
    dn: string | null,
    attributes: readonly string[],
  ): Promise<Entry | null> {
    if (dn === null || attributes.length === 0) return null
    const [entry] = await connection.search({ base: dn, scope: 'base', attributes })
    return entry ?? null
  }

  async #groupsOf(connection: DirectoryConnection, { dn, login }: Person): Promise<Groups> {
    const { allowedGroups, adminGroups, groupSearchBase, groupNameAttribute } = this.#options
    const filter = this.#groupFilter({ userdn: dn ?? '', uid: login })
    const isEveryGroupWanted = this.#manageGroups && groupSearchBase !== undefined
    if (allowedGroups.length + adminGroups.length > 0 || isEveryGroupWanted)
      await this.#becomeSearcher(connection)
    const attributes = [groupNameAttribute]
    const members = new Map<string, readonly string[]>()
    for (const base of new Set([...allowedGroups, ...adminGroups])) {
      const [group] = await connection.search({ base, filter, scope: 'base', attributes })
      if (group) members.set(base, valuesOf(group, groupNameAttribute).slice(0, 1))
    }
    const all = isEveryGroupWanted
      ? await connection.search({ base: groupSearchBase, filter, scope: 'sub', attributes })
      : []
    if (all.length > mostGroups) throw new Refusal(`they are in more than ${mostGroups} groups`)
    const found = all.flatMap((group) => valuesOf(group, groupNameAttribute).slice(0, 1))
    return {
      allowed: allowedGroups.filter((base) => members.has(base)),
      admin: adminGroups.some((base) => members.has(base)),
      names: [...new Set([...found, ...[...members.values()].flat()])],
    }
  }
}

function dnFrom(template: string, name: string): string {
  return fillIn(template, { username: template.includes('=') ? escapeDnValue(name) : name })
}

function requireSameName(names: readonly string[], login: string): void {
  if (!names.some((name) => nameKey(name) === login))
    throw new Refusal('the directory spells this name differently')
}

/** The attribute of a DN's first part. */
function rdnAttribute(dn: string): string | undefined {
  return /^\s*([A-Za-z][\w-]*)\s*=/.exec(dn)?.[1]
}

/** Values of an attribute whose letters may come in any case; those that are no text are left out. */
function valuesOf(entry: Entry, attribute: string): readonly string[] {
  const wanted = attribute.toLowerCase()
  const values = Object.entries(entry).find(([name]) => name.toLowerCase() === wanted)?.[1] ?? []
  return [values].flat().filter((value) => typeof value === 'string')
}

function pick(entry: Entry | null, attributes: readonly string[]): { [name: string]: Json } {
  if (!entry) return {}
  return Object.fromEntries(attributes.map((name) => [name, [...valuesOf(entry, name)]]))
}
