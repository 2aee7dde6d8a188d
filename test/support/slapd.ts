import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Client } from 'ldapts'
import { testAuthority } from './certificates.ts'
import { temporaryFolder } from './folder.ts'
import { freePorts } from './start-hub.ts'
import { until } from './until.ts'

const program = '/usr/sbin/slapd'

/** Why there can be no slapd here, or false. */
export const slapdMissing = existsSync(program) ? false : 'slapd is not installed'

export const base = 'dc=example,dc=org'
export const people = `ou=people,${base}`
export const groups = `ou=groups,${base}`
export const searcher = { dn: `cn=hub,${base}`, password: 'searching-is-allowed' }

/** Does something as the searcher, who may change everything but passwords. */
export async function changing(
  slapd: Slapd,
  change: (client: Client) => Promise<void>,
): Promise<void> {
  const client = new Client({ url: `ldap://${slapd.address}` })
  try {
    await client.bind(searcher.dn, searcher.password)
    await change(client)
  } finally {
    await client.unbind()
  }
}

/** Everybody's password, but for the names in `passwords`. */
export const secret = 'correct horse battery staple'

/** As Active Directory names people: who logs in as `grace.hopper@example.org` is `grace`. */
const principal = (account: string, name: string) => ({
  objectClass: ['inetOrgPerson', 'securityPrincipal'],
  sAMAccountName: account,
  userPrincipalName: `${name}@example.org`,
})

const accounts = [
  {
    uid: 'ada',
    cn: 'Ada Lovelace',
    mail: 'ada@example.org',
    password: secret,
    ...principal('Ada', 'ada'),
  },
  {
    uid: 'grace',
    cn: 'Grace Hopper',
    mail: 'grace@example.org',
    password: secret,
    ...principal('grace', 'grace.hopper'),
  },
  { uid: 'Mixed.Case', cn: 'Mixed Case', mail: 'mixed@example.org', password: secret },
  { uid: 'zoë', cn: 'Zoë Ünïcode', mail: 'zoe@example.org', password: 'pässwörd-日本-€' },
  { uid: 'star*(x)\\y', cn: 'Star', mail: 'star@example.org', password: secret },
  { uid: ' #odd, name=+"<>; ', cn: 'Odd', mail: 'odd@example.org', password: secret },
  { uid: 'twin', cn: 'Twin one', mail: 'twin@example.org', password: secret },
] as const

const members = {
  staff: ['ada', 'zoë'],
  admins: ['ada'],
  'odd, group': ['grace'],
} as const

export interface Slapd {
  /** `127.0.0.1:PORT`, plain and StartTLS. */
  readonly address: string
  readonly port: number
  /** `127.0.0.1:PORT`, TLS from the start. */
  readonly secureAddress: string
  /** The certificate of the authority that vouches for it. */
  readonly ca: string
  /** Ends it as a crash would; `start` brings it back on the same ports. */
  kill(): Promise<void>
  start(): Promise<void>
}

/** A directory of a few people and groups on free ports, gone after the test. */
export async function startSlapd(t: TestContext): Promise<Slapd> {
  const folder = temporaryFolder(t)
  const authority = testAuthority(folder)
  const { key, cert } = authority.issue('slapd')
  const [port = 0, securePort = 0] = await freePorts(2)
  const config = join(folder, 'slapd.conf')
  mkdirSync(join(folder, 'data'))
  writeFileSync(config, configText(folder, { ca: authority.ca, key, cert }))
  writeFileSync(join(folder, 'base.ldif'), ldif())
  execFileSync('/usr/sbin/slapadd', ['-f', config, '-l', join(folder, 'base.ldif')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let child: ChildProcess | null = null
  const slapd: Slapd = {
    address: `127.0.0.1:${port}`,
    port,
    secureAddress: `127.0.0.1:${securePort}`,
    ca: authority.ca,
    async kill() {
      const ended = child
      child = null
      if (!ended || ended.exitCode !== null || ended.signalCode !== null) return
      ended.kill('SIGKILL')
      await once(ended, 'exit')
    },
    async start() {
      const urls = `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${securePort}`
      child = spawn(program, ['-f', config, '-h', urls, '-d', '0'], { stdio: 'ignore' })
      await until('slapd answers', () => answers(port), 60_000)
    },
  }
  t.after(() => slapd.kill())
  await slapd.start()
  return slapd
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    const settle = (is: boolean): void => {
      socket.destroy()
      resolve(is)
    }
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
  })
}

/** https://learn.microsoft.com/windows/win32/adschema/a-userprincipalname */
const activeDirectory = [
  ['656', 'userPrincipalName'],
  ['221', 'sAMAccountName'],
]
  .map(
    ([number, name]) =>
      `attributetype ( 1.2.840.113556.1.4.${number} NAME '${name}' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )`,
  )
  .concat(
    "objectclass ( 1.2.840.113556.1.5.6 NAME 'securityPrincipal' SUP top AUXILIARY MAY ( sAMAccountName $ userPrincipalName ) )",
  )

function configText(
  folder: string,
  files: { readonly ca: string; readonly key: string; readonly cert: string },
): string {
  return [
    ...['core', 'cosine', 'nis', 'inetorgperson'].map(
      (schema) => `include /etc/ldap/schema/${schema}.schema`,
    ),
    ...activeDirectory,
    'modulepath /usr/lib/ldap',
    'moduleload back_mdb',
    `TLSCACertificateFile ${files.ca}`,
    `TLSCertificateFile ${files.cert}`,
    `TLSCertificateKeyFile ${files.key}`,
    'database mdb',
    `suffix "${base}"`,
    `directory ${join(folder, 'data')}`,
    'access to attrs=userPassword by anonymous auth by * none',
    `access to * by dn.exact="${searcher.dn}" write by * read`,
    '',
  ].join('\n')
}

/** LDIF with every value in base64, so that any text is just a value. */
function ldif(): string {
  const entry = (dn: string, attributes: Readonly<Record<string, string | readonly string[]>>) =>
    [
      `dn:: ${encode(dn)}`,
      ...Object.entries(attributes).flatMap(([name, values]) =>
        [values].flat().map((value) => `${name}:: ${encode(value)}`),
      ),
      '',
    ].join('\n')
  return [
    entry(base, { objectClass: ['dcObject', 'organization'], dc: 'example', o: 'Example' }),
    entry(people, { objectClass: 'organizationalUnit', ou: 'people' }),
    entry(`ou=others,${base}`, { objectClass: 'organizationalUnit', ou: 'others' }),
    entry(groups, { objectClass: 'organizationalUnit', ou: 'groups' }),
    entry(searcher.dn, {
      objectClass: ['organizationalRole', 'simpleSecurityObject'],
      cn: 'hub',
      userPassword: searcher.password,
    }),
    ...accounts.map(({ password, ...account }) =>
      entry(dnOf(account.uid), {
        objectClass: 'inetOrgPerson',
        sn: 'x',
        ...account,
        userPassword: password,
      }),
    ),
    entry(`uid=twin,ou=others,${base}`, {
      objectClass: 'inetOrgPerson',
      uid: 'twin',
      cn: 'Twin two',
      sn: 'x',
      userPassword: secret,
    }),
    ...Object.entries(members).map(([cn, names]) =>
      entry(groupDn(cn), { objectClass: 'groupOfNames', cn, member: names.map(dnOf) }),
    ),
    entry(groupDn('posix'), {
      objectClass: 'posixGroup',
      cn: 'posix',
      gidNumber: '5000',
      memberUid: 'grace',
    }),
  ].join('\n')
}

const encode = (text: string): string => Buffer.from(text).toString('base64')

/** Escaped by hexadecimal pairs, in another way than the code under test does it. */
function rdn(attribute: string, value: string): string {
  const escaped = [...Buffer.from(value)]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return /[a-z0-9.]/i.test(character) ? character : `\\${byte.toString(16).padStart(2, '0')}`
    })
    .join('')
  return `${attribute}=${escaped}`
}

const dnOf = (uid: string): string => `${rdn('uid', uid)},${people}`
export const groupDn = (cn: string): string => `${rdn('cn', cn)},${groups}`
