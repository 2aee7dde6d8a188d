import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { pam } from '../../authenticators/pam.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
} from '../contracts/authenticator.ts'
import { authenticatorContext } from '../support/authenticator-context.ts'
import { temporaryFolder } from '../support/folder.ts'
import { noAccounts, PamFixture, run, unix } from '../support/pam.ts'

const fixture = new PamFixture(`ptpam${process.pid % 10_000}`)
const password = 'Correct-Horse-7'
let service = ''
let ada = ''

before(() => {
  if (noAccounts) return
  service = fixture.service('', ...unix)
  ada = fixture.account('ada', password)
})
after(() => fixture[Symbol.dispose]())

async function login(
  t: TestContext,
  form: Record<string, string>,
  options: Record<string, unknown> = {},
) {
  const { authenticator, context } = await createAuthenticator(t, pam, {
    service,
    executorThreads: 1,
    ...options,
  })
  return { verdict: await authenticator.authenticate(loginRequest({ form })), context }
}

async function refusal(
  t: TestContext,
  form: Record<string, string>,
  options: Record<string, unknown> = {},
): Promise<string> {
  const { verdict } = await login(t, form, options)
  assert.equal(verdict.kind, 'denied')
  return verdict.reason
}

async function identity(
  t: TestContext,
  form: Record<string, string>,
  options: Record<string, unknown> = {},
) {
  const { verdict, context } = await login(t, form, options)
  assert.equal(verdict.kind, 'identified', verdict.kind === 'denied' ? verdict.reason : '')
  return { ...verdict.identity, lines: context.lines }
}

describe('pam', { skip: noAccounts }, () => {
  authenticatorContract('pam', () => ({
    driver: pam,
    options: { service, executorThreads: 2 },
    right: () => ({ form: { username: ada, password }, userName: ada }),
    wrong: () => ({ form: { username: ada, password: `${password}!` } }),
  }))

  describe('whom it lets in', () => {
    it('takes passwords of any length and language whole', async (t) => {
      const { authenticator } = await createAuthenticator(t, pam, { service })
      for (const [index, secret] of [
        'pässwörd-日本-€',
        'x'.repeat(126) + 'y',
        'z'.repeat(199) + '!',
        ' spaces around ',
      ].entries()) {
        const name = fixture.account(`pw${index}`, secret)
        const verdict = async (given: string) =>
          (
            await authenticator.authenticate(
              loginRequest({ form: { username: name, password: given } }),
            )
          ).kind
        assert.equal(await verdict(secret), 'identified', `${secret.length} characters`)
        assert.equal(await verdict(`${secret}x`), 'denied')
        assert.equal(await verdict(secret.slice(0, -1)), 'denied')
        assert.equal(await verdict(`${secret}\0x`), 'denied')
      }
    })

    it('refuses accounts that are expired, locked, without a password, or due for a new one', async (t) => {
      const expired = fixture.account('expired', password)
      run('chage', ['-E', '1', expired])
      const due = fixture.account('due', password)
      run('chage', ['-d', '0', due])
      const locked = fixture.account('locked', password)
      run('usermod', ['-L', locked])
      const open = fixture.account('open', null)
      run('passwd', ['-d', open])
      const nullok = fixture.service('nullok', 'auth required pam_unix.so nodelay nullok', unix[1])
      assert.match(await refusal(t, { username: expired, password }), /account: .*expired.*\(13\)/)
      assert.match(await refusal(t, { username: due, password }), /account: .*\(12\)/)
      assert.match(await refusal(t, { username: locked, password }), /authentication: .*\(7\)/)
      for (const given of ['', 'anything'])
        await refusal(t, { username: open, password: given }, { service: nullok })
      assert.match(
        await refusal(t, { username: 'nobody-of-that-name', password }),
        /authentication: .*\((7|10)\)/,
      )
    })

    it('never shows PAM a name or secret that C reads otherwise', async (t) => {
      const { authenticator } = await createAuthenticator(t, pam, { service })
      for (const username of [
        `${ada}\0evil`,
        `\0${ada}`,
        `-${ada}`,
        `+${ada}`,
        `x:${ada}`,
        `X\\${ada}`,
        `${ada}\n`.padEnd(300, 'x'),
        `${ada}\u200B`,
        `${ada}\u0301`,
      ]) {
        const verdict = await authenticator.authenticate(
          loginRequest({ form: { username, password } }),
        )
        assert.equal(verdict.kind, 'denied', JSON.stringify(username))
      }
    })

    it('gives case and width twins the one name that PAM has checked', async (t) => {
      const wide = ada.replaceAll(/./g, (c) => String.fromCodePoint(c.charCodeAt(0) + 0xfee0))
      for (const username of [ada.toUpperCase(), wide, ` ${ada} `])
        assert.equal((await identity(t, { username, password })).userName, ada)
    })

    it('refuses when PAM ends with another name than it was given', async (t) => {
      const folder = temporaryFolder(t)
      const module = join(folder, 'rename.so')
      writeFileSync(
        `${module}.c`,
        `int pam_set_item(void *, int, const void *);
int pam_sm_authenticate(void *h, int flags, int count, const char **given) {
  return pam_set_item(h, 2, given[0]);
}
int pam_sm_setcred(void *h, int flags, int count, const char **given) { return 0; }
`,
      )
      const { status } = spawnSync('cc', [
        '-shared',
        '-fPIC',
        '-o',
        module,
        `${module}.c`,
        '-l:libpam.so.0',
      ])
      if (status !== 0) return t.skip('there is no C compiler')
      const root = fixture.service('root', unix[0], `auth required ${module} root`, unix[1])
      const form = { username: ada, password }
      assert.match(
        await refusal(t, form, { service: root }),
        /PAM has accepted "root" instead of "ptpam/,
      )
    })

    it('refuses an account that is spelled otherwise, also when names are those of the machine', async (t) => {
      const upper = fixture.account('Upper', password)
      const form = { username: upper, password }
      const canonical = { pamNormalizeUsername: true }
      await refusal(t, form)
      // To the hub it would be the other one: there is none, and then there is.
      assert.match(await refusal(t, form, canonical), /the hub would take "ptpam\d+Upper" for/)
      const lower = fixture.account('upper', 'Another-Horse-8')
      assert.match(await refusal(t, form, canonical), /the hub would take/)
      const owner = { username: lower, password: 'Another-Horse-8' }
      assert.equal((await identity(t, owner, canonical)).userName, lower)
      const unknown = { username: 'nobody-of-that-name', password }
      assert.match(await refusal(t, unknown, canonical), /no account/)
    })

    it('takes the name that an account has first, when it has several', async (t) => {
      const uid = execFileSync('id', ['-u', ada], { encoding: 'utf8' }).trim()
      const alias = fixture.account('alias', null)
      run('usermod', ['-o', '-u', uid, alias])
      const form = { username: alias, password }
      assert.equal((await identity(t, form, { pamNormalizeUsername: true })).userName, ada)
      await refusal(t, form)
    })
  })

  describe('groups', () => {
    it('let in and make admins by membership, primary or not', async (t) => {
      const staff = fixture.group('staff')
      const member = fixture.account('member', password, staff)
      const form = { username: member, password }
      const options = { allowedGroups: ['no-such-group', staff], adminGroups: [staff] }
      const found = await identity(t, form, options)
      assert.equal(found.allowedBy, `authenticator.allowedGroups (${staff})`)
      assert.equal(found.admin, true)
      assert.equal(found.groups, undefined)
      assert.ok(found.lines.some((line) => line.includes('no group "no-such-group"')))
      const primary = await identity(t, form, { adminGroups: ['nogroup'] })
      assert.equal(primary.admin, true)
      const outsider = await identity(t, { username: ada, password }, options)
      assert.deepEqual([outsider.allowedBy, outsider.admin], [undefined, false])
    })

    it('are all told when the hub manages groups, and follow at a refresh', async (t) => {
      const team = fixture.group('team')
      const name = fixture.account('mover', password, team)
      const context = await authenticatorContext(t, { manageGroups: true })
      const { authenticator } = await createAuthenticator(
        t,
        pam,
        { service, allowedGroups: [team] },
        context,
      )
      const verdict = await authenticator.authenticate(
        loginRequest({ form: { username: name, password } }),
      )
      assert.equal(verdict.kind, 'identified')
      assert.deepEqual(verdict.identity.groups, ['nogroup', team].toSorted())
      assert.match((await authenticator.allowedBy?.(name)) ?? '', /allowedGroups/)
      run('usermod', ['-G', '', name])
      const moved = await authenticator.refresh?.(verdict.identity)
      assert.deepEqual([moved?.allowedBy, moved?.groups], [undefined, ['nogroup']])
      assert.equal(await authenticator.allowedBy?.(name), null)
      run('chage', ['-E', '1', name])
      assert.equal(await authenticator.refresh?.(verdict.identity), null)
    })
  })

  describe('a second answer', () => {
    it('goes to the second prompt, where the config asks for one', async (t) => {
      const secrets = temporaryFolder(t)
      chmodSync(secrets, 0o711)
      const file = join(secrets, 'otp')
      writeFileSync(file, 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP\n" DISALLOW_REUSE\n" TOTP_AUTH\n', {
        mode: 0o400,
      })
      const module = ['x86_64', 'aarch64']
        .map((cpu) => `/usr/lib/${cpu}-linux-gnu/security/pam_google_authenticator.so`)
        .find(existsSync)
      if (!module) return t.skip('libpam-google-authenticator is not installed')
      const otp = fixture.service(
        'otp',
        'auth requisite pam_unix.so nodelay',
        `auth required pam_google_authenticator.so secret=${file} user=root no_increment_hotp`,
        unix[1],
      )
      const context = await authenticatorContext(t, { otpPrompt: 'Code' })
      const code = () =>
        execFileSync('oathtool', ['--totp', '-b', 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'], {
          encoding: 'utf8',
        }).trim()
      const form = { username: ada, password }
      const { authenticator } = await createAuthenticator(t, pam, { service: otp }, context)
      const attempt = (given: Record<string, string>) =>
        authenticator.authenticate(loginRequest({ form: given }))
      assert.equal((await attempt(form)).kind, 'denied')
      assert.equal((await attempt({ ...form, otp: '000000' })).kind, 'denied')
      assert.equal((await attempt({ ...form, password: 'wrong', otp: code() })).kind, 'denied')
      const verdict = await attempt({ ...form, otp: code() })
      assert.equal(verdict.kind, 'identified', verdict.kind === 'denied' ? verdict.reason : '')
      assert.match(
        await refusal(t, form, { service: otp }),
        /no answer to the prompt "Verification code/,
      )
    })
  })

  describe('options', () => {
    it('refuse a start without the service, and say what to copy', async (t) => {
      const context = await authenticatorContext(t)
      const made = async () => pam.create(pam.config.parse({ service: 'no-such-service' }), context)
      await assert.rejects(made, /examples\/pam\/portico.*authenticator\.service/)
    })

    it('refuse what would open a hole, saying which', () => {
      const refusals = [
        [{ checkAccount: false }, /expired and locked/],
        [{ openSessions: true }, /process of the server/],
        [{ service: '../passwd' }, /without a path/],
      ] as const
      for (const [given, text] of refusals) {
        const result = pam.config.safeParse(given)
        assert.match(result.error?.issues[0]?.message ?? '', text)
      }
      assert.equal(pam.config.safeParse({ uids: { root: 0 } }).success, false)
    })
  })
})
