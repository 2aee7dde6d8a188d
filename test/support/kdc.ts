import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryFolder } from './folder.ts'
import { freePorts } from './start-hub.ts'
import { until } from './until.ts'

const programs = [
  '/usr/sbin/krb5kdc',
  '/usr/sbin/kdb5_util',
  '/usr/sbin/kadmin.local',
  '/usr/bin/kinit',
]

/** Why there can be no KDC here, or false. */
export const noKdc =
  programs.find((path) => !existsSync(path)) === undefined
    ? false
    : 'needs krb5-kdc, krb5-admin-server and krb5-user'

export interface Kdc {
  readonly krb5Config: string
  /** With the keys of `HTTP/localhost`. */
  readonly keytab: string
  /** Gets a ticket for `principal@TEST.LOCAL`; the environment of a program that is to use it. */
  ticketOf(principal: string): Record<string, string>
}

/** A Kerberos realm of its own, `TEST.LOCAL`, on loopback; gone after the test. */
export async function startKdc(t: TestContext, ...principals: readonly string[]): Promise<Kdc> {
  const folder = temporaryFolder(t)
  const [port = 0] = await freePorts(1)
  const krb5Config = join(folder, 'krb5.conf')
  const profile = join(folder, 'kdc.conf')
  writeFileSync(
    krb5Config,
    `[libdefaults]
  default_realm = TEST.LOCAL
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
[realms]
  TEST.LOCAL = {
    kdc = 127.0.0.1:${port}
  }
[domain_realm]
  localhost = TEST.LOCAL
`,
  )
  writeFileSync(
    profile,
    `[kdcdefaults]
  kdc_listen = 127.0.0.1:${port}
  kdc_tcp_listen = 127.0.0.1:${port}
[realms]
  TEST.LOCAL = {
    database_name = ${folder}/principal
    key_stash_file = ${folder}/stash
    acl_file = ${folder}/acl
  }
[logging]
  kdc = FILE:${folder}/kdc.log
`,
  )
  const env = { PATH: '/usr/sbin:/usr/bin', KRB5_CONFIG: krb5Config, KRB5_KDC_PROFILE: profile }
  const run = (file: string, args: readonly string[], input = '') =>
    execFileSync(file, args, { env, input, stdio: ['pipe', 'ignore', 'pipe'] })
  run('kdb5_util', ['create', '-s', '-P', 'master', '-r', 'TEST.LOCAL'])
  const keytab = join(folder, 'http.keytab')
  const commands = [
    ...principals.map((name) => `addprinc -pw secret ${name}`),
    'addprinc -randkey HTTP/localhost',
    `ktadd -k ${keytab} HTTP/localhost`,
  ]
  run('kadmin.local', ['-r', 'TEST.LOCAL'], `${commands.join('\n')}\n`)
  const kdc = spawn('krb5kdc', ['-n', '-r', 'TEST.LOCAL'], { env, stdio: 'ignore' })
  t.after(async () => {
    if (kdc.exitCode !== null) return
    const ended = once(kdc, 'exit')
    kdc.kill('SIGKILL')
    await ended
  })
  await until('the KDC listens', () => listens(port), 30_000)
  return {
    krb5Config,
    keytab,
    ticketOf(principal) {
      const caches = join(folder, 'caches')
      mkdirSync(caches, { recursive: true })
      const cache = `FILE:${join(caches, encodeURIComponent(principal))}`
      const own = { ...env, KRB5CCNAME: cache }
      execFileSync('kinit', [principal], { env: own, input: 'secret\n', stdio: 'pipe' })
      return own
    },
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
