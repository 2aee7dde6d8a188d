import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { ensureAccount, localAccountOptions } from '../../authenticators/local-accounts.ts'
import { temporaryFolder } from '../support/folder.ts'
import { noAccounts } from '../support/pam.ts'

const schema = z.strictObject(localAccountOptions)
const stranger = 'nobody-of-that-name'

describe('accounts of the machine', () => {
  it('are made on demand, with a safe name and the uid that is configured', async (t) => {
    const folder = temporaryFolder(t)
    const script = join(folder, 'make')
    const calls = join(folder, 'calls')
    writeFileSync(script, `#!/bin/sh\nprintf '%s\\n' "$#" "$@" > ${calls}\n`)
    chmodSync(script, 0o755)
    const options = schema.parse({
      createSystemUsers: true,
      addUserCmd: [script, '--home', '/srv/USERNAME'],
      uids: { [stranger]: 4242 },
    })
    await ensureAccount(options, userInfo().username)
    assert.equal(existsSync(calls), false)
    await ensureAccount(options, stranger)
    assert.deepEqual(readFileSync(calls, 'utf8').trim().split('\n'), [
      '6',
      '--home',
      `/srv/${stranger}`,
      '--uid',
      '4242',
      '--',
      stranger,
    ])
    for (const name of ['-zoe', '--uid', 'a b', 'a/b', 'x'.repeat(33), '$(id)', 'zoé', 'a\nb', ''])
      await assert.rejects(ensureAccount(options, name), /No account can be made/)
  })

  const skip = noAccounts || (!existsSync('/usr/sbin/adduser') && 'adduser is not installed')
  it('are made by the default command, once', { skip }, async (t) => {
    const name = `ptlocal${process.pid % 10_000}`
    t.after(() => spawnSync('userdel', ['-r', name]))
    const options = schema.parse({ createSystemUsers: true })
    await ensureAccount(options, name)
    await ensureAccount(options, name)
    const [found, , uid] = execFileSync('getent', ['passwd', name], { encoding: 'utf8' }).split(':')
    assert.equal(found, name)
    assert.ok(Number(uid) >= 1_000)
  })

  it('must exist otherwise', async () => {
    const options = schema.parse({})
    await ensureAccount(options, userInfo().username)
    await assert.rejects(ensureAccount(options, stranger), /no account "nobody-of-that-name"/)
  })

  it('never get a uid of the system', () => {
    assert.equal(schema.safeParse({ uids: { zoe: 0 } }).success, false)
  })
})
