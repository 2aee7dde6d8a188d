import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Why tests with real accounts cannot run here, or false. */
export const noAccounts =
  process.getuid?.() !== 0
    ? 'needs root, to make accounts'
    : !existsSync('/etc/pam.d')
      ? 'needs PAM'
      : false

/** Accounts and PAM services of one test file; all are removed with it. */
export class PamFixture implements Disposable {
  readonly #prefix: string
  readonly #accounts = new Set<string>()
  readonly #groups = new Set<string>()
  readonly #services = new Set<string>()

  /** `prefix` begins the names of everything; each test file has its own. */
  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** An account with a password, without a home; returns its name. */
  account(suffix: string, password: string | null, ...groups: readonly string[]): string {
    const name = `${this.#prefix}${suffix}`
    const more = groups.length > 0 ? ['-G', groups.join(',')] : []
    this.#accounts.add(name)
    run('useradd', ['-M', '-N', '-g', 'nogroup', '-s', '/bin/sh', ...more, name])
    if (password !== null) run('chpasswd', [], `${name}:${password}\n`)
    return name
  }

  group(suffix: string): string {
    const name = `${this.#prefix}${suffix}`
    this.#groups.add(name)
    run('groupadd', [name])
    return name
  }

  /** A service with these lines; returns its name. */
  service(suffix: string, ...lines: readonly string[]): string {
    const name = `${this.#prefix}${suffix}`
    this.#services.add(name)
    writeFileSync(join('/etc/pam.d', name), `${lines.join('\n')}\n`)
    return name
  }

  [Symbol.dispose](): void {
    for (const name of this.#services) rmSync(join('/etc/pam.d', name), { force: true })
    for (const name of this.#accounts) spawnSync('userdel', ['-f', name])
    for (const name of this.#groups) spawnSync('groupdel', [name])
  }
}

/** The lines of a service that asks for the password of an account, without delays. */
export const unix = ['auth required pam_unix.so nodelay', 'account required pam_unix.so'] as const

/** Runs a program of the accounts database, again while somebody else has it locked. */
export function run(file: string, args: readonly string[], input = ''): void {
  for (let attempt = 0; ; attempt += 1) {
    const { status, stderr } = spawnSync(file, args, { input, encoding: 'utf8' })
    if (status === 0) return
    const isLocked = /lock/i.test(stderr)
    assert.ok(isLocked && attempt < 60, `${file} ${args.join(' ')}: ${stderr}`)
    execFileSync('sleep', ['0.5'])
  }
}
