import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Attribute, Change } from 'ldapts'
import { ldap } from '../../authenticators/ldap.ts'
import { authenticatorContract } from '../contracts/authenticator.ts'
import { directory, nameOf, search, template } from '../support/ldap-logins.ts'
import {
  base,
  changing,
  groupDn,
  groups,
  people,
  secret,
  slapdMissing,
  startSlapd,
} from '../support/slapd.ts'
import { startRelay } from '../support/tcp-relay.ts'

/**
 * Active Directory takes `ada@example.org` and `EXAMPLE\\ada` in place of a DN when somebody logs in
 * (MS-ADTS 5.1.1.1.1), and slapd does not: the DN is put in their place (RFC 4511 section 4.2).
 */
function withBindDn(bytes: Buffer, names: ReadonlyMap<string, string>): Buffer {
  // A message of less than 128 bytes: sequence, id, and the bind with version, name and password.
  const name =
    bytes[5] === 0x60 && bytes[10] === 0x04 ? bytes.subarray(12, 12 + (bytes[11] ?? 0)) : null
  const dn = name && names.get(name.toString())
  if (!name || dn === undefined || dn === null) return bytes
  const of = (tag: number, ...parts: readonly Buffer[]): Buffer => {
    const content = Buffer.concat(parts)
    return Buffer.concat([Buffer.from([tag, content.length]), content])
  }
  const rest = bytes.subarray(12 + name.length)
  return of(
    0x30,
    bytes.subarray(2, 5),
    of(0x60, bytes.subarray(7, 10), of(0x04, Buffer.from(dn)), rest),
  )
}

if (!slapdMissing)
  authenticatorContract('ldap', async (t) => {
    const slapd = await startSlapd(t)
    return {
      driver: ldap,
      options: { serverAddress: slapd.address, tlsCaFile: slapd.ca, ...template },
      right: () => ({ userName: 'ada', form: { username: 'ada', password: secret } }),
      wrong: () => ({ form: { username: 'ada', password: 'not the password' } }),
    }
  })

describe('ldap', { skip: slapdMissing }, () => {
  it('checks passwords by template and by search, over StartTLS and ldaps', async (t) => {
    const slapd = await startSlapd(t)
    const secure = { tlsStrategy: 'on_connect', serverAddress: slapd.secureAddress }
    for (const options of [
      template,
      search,
      { ...template, ...secure },
      { ...search, ...secure },
    ]) {
      const { logIn } = await directory(slapd, options)
      assert.equal(nameOf(await logIn('ada')), 'ada')
      assert.equal(nameOf(await logIn('ADA')), 'ada')
      assert.equal(nameOf(await logIn('Mixed.Case')), 'mixed.case')
      for (const [name, password] of [
        ['ada', 'wrong'],
        ['ada', ''],
        ['ada', '   '],
        ['ada', `${secret}\0`],
        ['nobody', secret],
      ] as const)
        assert.equal(nameOf(await logIn(name, password)), null, `${name} ${password}`)
    }
  })

  it('takes every name for itself, whatever it holds', async (t) => {
    const slapd = await startSlapd(t)
    const any = { validUsernameRegex: '.*' }
    for (const options of [template, search]) {
      const { logIn } = await directory(slapd, { ...options, ...any })
      assert.equal(nameOf(await logIn('star*(x)\\y')), 'star*(x)\\y')
      assert.equal(nameOf(await logIn('zoë', 'pässwörd-日本-€')), 'zoë')
      assert.equal(nameOf(await logIn('zoe\u0308', 'pässwörd-日本-€')), 'zoë')
      for (const name of [
        '*',
        'a*',
        'ada)(uid=*',
        '*)(|(uid=*',
        `ada,${people}`,
        'x,ou=others',
        'ada+cn=x',
        'ada\0',
        'ada\0)(uid=*',
        ' ada',
        'ada ',
        'a  da',
        '\\61da',
        '#616461',
        '{username}',
        '',
      ])
        assert.equal(nameOf(await logIn(name)), null, JSON.stringify(name))
    }
    const { logIn } = await directory(slapd, { ...template, ...any })
    assert.equal(nameOf(await logIn(' #odd, name=+"<>; ')), ' #odd, name=+"<>; ')
  })

  it('lets nobody in who is found twice', async (t) => {
    const slapd = await startSlapd(t)
    const { logIn } = await directory(slapd, { ...search, userSearchBase: base })
    assert.equal(nameOf(await logIn('ada')), 'ada')
    assert.equal(nameOf(await logIn('twin')), null)
    // Whose password it is counts, not who was found first.
    const other = await directory(slapd, {
      ...search,
      bindDnTemplate: `uid={username},ou=others,${base}`,
      userInfoAttributes: { name: 'cn' },
    })
    const verdict = await other.logIn('twin')
    assert.ok(verdict.kind === 'identified')
    assert.deepEqual(verdict.identity.userInfo, { name: 'Twin two' })
  })

  it('calls people as another attribute says, and keeps to a search filter', async (t) => {
    const slapd = await startSlapd(t)
    const byMail = await directory(slapd, {
      ...search,
      userAttribute: 'mail',
      validUsernameRegex: '[a-z@.]+',
      lookupDnUserDnAttribute: 'uid',
      useLookupDnUsername: true,
      ...template,
    })
    assert.equal(nameOf(await byMail.logIn('grace@example.org')), 'grace')
    const filtered = await directory(slapd, {
      ...search,
      searchFilter: '(&({userattr}={username})(cn=*Lovelace))',
      attributes: ['mail'],
    })
    const verdict = await filtered.logIn('ada')
    assert.ok(verdict.kind === 'identified')
    assert.deepEqual(verdict.identity.authState, {
      ldap_groups: [],
      user_attributes: { mail: ['ada@example.org'] },
    })
    assert.equal(nameOf(await filtered.logIn('grace')), null)
  })

  it('knows people by the names that Active Directory gives them', async (t) => {
    const slapd = await startSlapd(t)
    const byEither = {
      ...search,
      userAttribute: 'userPrincipalName',
      lookupDnSearchFilter: '(|(sAMAccountName={login})(userPrincipalName={login}))',
      lookupDnUserDnAttribute: 'sAMAccountName',
      useLookupDnUsername: true,
      validUsernameRegex: '[a-z][.a-z0-9_@-]*',
      loginDomains: ['EXAMPLE'],
    }
    const { logIn } = await directory(slapd, byEither)
    for (const [typed, name] of [
      ['grace.hopper@example.org', 'grace'],
      ['Grace.Hopper@EXAMPLE.org', 'grace'],
      ['EXAMPLE\\grace', 'grace'],
      ['example\\Grace', 'grace'],
      ['grace', 'grace'],
      ['EXAMPLE\\ADA', 'Ada'],
      ['OTHER\\grace', null],
      ['EXAMPLE\\EXAMPLE\\grace', null],
      ['EXAMPLE\\', null],
      ['grace@other.org', null],
      ['grace@example.org', null],
      ['*@example.org', null],
    ] as const)
      assert.equal(nameOf(await logIn(typed)), name, typed)
    assert.equal(nameOf(await logIn('EXAMPLE\\grace', 'wrong')), null)
  })

  it('logs in by a name with a domain where the directory wants one', async (t) => {
    const slapd = await startSlapd(t)
    const dnOf = (uid: string): string => `uid=${uid},${people}`
    const names = { 'ada@example.org': dnOf('ada'), 'EXAMPLE\\grace': dnOf('grace') }
    const relay = await startRelay(t, slapd.port, {
      rewriteSent: (bytes) => withBindDn(bytes, new Map(Object.entries(names))),
    })
    const { logIn } = await directory(slapd, {
      serverAddress: `127.0.0.1:${relay.port}`,
      tlsStrategy: 'insecure',
      bindDnTemplate: ['{username}@example.org', 'EXAMPLE\\{username}'],
      userSearchBase: people,
      userAttribute: 'sAMAccountName',
      loginDomains: ['example.org', 'EXAMPLE'],
      allowedGroups: [groupDn('staff')],
    })
    for (const typed of ['ada', 'Ada@example.org', 'EXAMPLE\\ada']) {
      const verdict = await logIn(typed)
      assert.equal(nameOf(verdict), 'ada', typed)
      assert.match(JSON.stringify(verdict), /allowedGroups \(.*staff/)
    }
    assert.equal(nameOf(await logIn('EXAMPLE\\grace')), 'grace')
    for (const typed of ['eve', 'ada@other.org', 'OTHER\\ada'])
      assert.equal(nameOf(await logIn(typed)), null, typed)
    assert.equal(nameOf(await logIn('ada@example.org', 'wrong')), null)
  })

  it('says which groups allow, which make admins, and which there are', async (t) => {
    const slapd = await startSlapd(t)
    const options = {
      ...search,
      allowedGroups: [groupDn('staff'), groupDn('posix'), groupDn('odd, group')],
      adminGroups: [groupDn('admins')],
      groupSearchBase: groups,
      authStateAttributes: ['cn'],
      userInfoAttributes: { name: 'cn' },
    }
    const { logIn } = await directory(slapd, options, true)
    const identity = async (name: string) => {
      const verdict = await logIn(name)
      assert.ok(verdict.kind === 'identified')
      return verdict.identity
    }
    const ada = await identity('ada')
    assert.match(ada.allowedBy ?? '', /allowedGroups \(.*staff/)
    assert.equal(ada.admin, true)
    assert.deepEqual(ada.groups?.toSorted(), ['admins', 'staff'])
    assert.deepEqual(ada.userInfo, { name: 'Ada Lovelace' })
    const grace = await identity('grace')
    assert.equal(grace.admin, false)
    assert.deepEqual(grace.groups?.toSorted(), ['odd, group', 'posix'])
    assert.equal((await identity('mixed.case')).allowedBy, undefined)
  })

  it('looks again without a password, where somebody may search', async (t) => {
    const slapd = await startSlapd(t)
    const options = { allowedGroups: [groupDn('staff')], adminGroups: [groupDn('admins')] }
    for (const one of [search, { ...search, ...template }]) {
      const { logIn, refresh } = await directory(slapd, { ...one, ...options })
      const verdict = await logIn('ada')
      assert.ok(verdict.kind === 'identified')
      assert.deepEqual(await refresh(verdict.identity), verdict.identity)
    }
    const untold = await directory(slapd, { ...template, ...options })
    const ada = { userName: 'ada', allowedBy: 'the last login' }
    assert.equal(await untold.refresh(ada), ada)
    const { refresh, logIn } = await directory(slapd, { ...search, ...options })
    assert.deepEqual(await refresh(ada), {
      userName: 'ada',
      allowedBy: `authenticator.allowedGroups (${groupDn('staff')})`,
      admin: true,
    })
    const verdict = await logIn('ada')
    assert.ok(verdict.kind === 'identified')
    const member = new Attribute({ type: 'member', values: [`uid=ada,${people}`] })
    await changing(slapd, (client) =>
      client.modify(groupDn('staff'), new Change({ operation: 'delete', modification: member })),
    )
    const fresh = await refresh(verdict.identity)
    assert.equal(fresh?.allowedBy, undefined)
    assert.deepEqual(fresh?.authState, { ldap_groups: [], user_attributes: {} })
    await changing(slapd, (client) => client.del(`uid=ada,${people}`))
    assert.equal(await refresh(verdict.identity), null)
    await slapd.kill()
    await assert.rejects(refresh(verdict.identity))
  })

  it('refuses options that would be unsafe or can never work', () => {
    const isGood = (options: object): boolean => ldap.config.safeParse(options).success
    const good = { serverAddress: 'ldap.example.org', ...template }
    assert.ok(isGood(good))
    assert.ok(isGood({ ...good, serverAddress: 'localhost', tlsStrategy: 'insecure' }))
    for (const bad of [
      { ...good, tlsStrategy: 'insecure' },
      { ...good, serverAddress: ['localhost', '192.0.2.1'], tlsStrategy: 'insecure' },
      { ...good, serverAddress: [] },
      { ...good, serverAddress: 'ldaps://ldap.example.org' },
      { ...good, bindDnTemplate: '{username}' },
      { ...good, bindDnTemplate: 'uid=ada,dc=example,dc=org' },
      { serverAddress: 'ldap.example.org' },
      { ...good, lookupDn: true },
      { ...good, ...search, lookupDnSearchPassword: undefined },
      { ...good, validUsernameRegex: '(' },
    ])
      assert.ok(!isGood(bad), JSON.stringify(bad))
  })
})
