import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { chooseDataDir, findDataDir, prepareDataDir } from '../../hub/data-dir.ts'
import { HubError } from '../../packages/core/errors.ts'

const isRoot = process.geteuid?.() === 0

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portico-data-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function refused(path: string, message: RegExp): void {
  const expect = (error: unknown): boolean => {
    assert.ok(error instanceof HubError)
    assert.match(error.message, message)
    assert.match(error.message, /--data-dir|is not a directory/)
    return true
  }
  assert.throws(() => prepareDataDir(path), expect)
}

describe('the data directory is', () => {
  const base = { env: {}, home: '/home/ada', cwd: '/here', isRoot: false }

  test('the flag, else the config, else a state directory, and never the working directory', () => {
    assert.equal(chooseDataDir({ ...base, flag: 'x', configured: '/y' }), '/here/x')
    assert.equal(chooseDataDir({ ...base, configured: '/y' }), '/y')
    assert.equal(chooseDataDir(base), '/home/ada/.local/state/portico')
    assert.equal(chooseDataDir({ ...base, isRoot: true }), '/var/lib/portico')
  })

  test('below XDG_STATE_HOME where that is absolute', () => {
    const at = (XDG_STATE_HOME: string) => chooseDataDir({ ...base, env: { XDG_STATE_HOME } })
    assert.equal(at('/state'), '/state/portico')
    assert.equal(at('state'), '/home/ada/.local/state/portico')
    assert.equal(at(''), '/home/ada/.local/state/portico')
  })
})

test('is made private with the folders above it, whatever the umask', (t) => {
  const before = process.umask(0)
  t.after(() => process.umask(before))
  const path = join(folder(t), 'a', 'b')
  assert.equal(prepareDataDir(path), path)
  assert.equal(statSync(path).mode & 0o777, 0o700)
  assert.equal(prepareDataDir(path), path)
})

test('is made private when it is empty and ours, and refused when others could read its content', (t) => {
  const path = join(folder(t), 'data')
  mkdirSync(path)
  chmodSync(path, 0o755)
  prepareDataDir(path)
  assert.equal(statSync(path).mode & 0o777, 0o700)
  writeFileSync(join(path, 'portico.sqlite'), '')
  for (const mode of [0o750, 0o705, 0o710]) {
    chmodSync(path, mode)
    refused(path, new RegExp(`has mode 0${mode.toString(8)}.*chmod 700 .*A3-39`))
  }
})

test('is refused below a folder that everybody may write', (t) => {
  const parent = join(folder(t), 'open')
  mkdirSync(parent)
  chmodSync(parent, 0o777)
  refused(join(parent, 'data'), /lies in .*open, which everybody may write/)
})

test('is fine below a sticky folder such as /tmp', (t) => {
  const parent = join(folder(t), 'tmp')
  mkdirSync(parent)
  chmodSync(parent, 0o1777)
  prepareDataDir(join(parent, 'data'))
})

test(
  'is refused when somebody else owns it or a folder above',
  { skip: !isRoot && 'needs root' },
  (t) => {
    const path = join(folder(t), 'data')
    mkdirSync(path, { mode: 0o700 })
    chownSync(path, 12_345, 12_345)
    refused(path, /belongs to uid 12345, and this command runs as uid 0/)
    refused(join(path, 'below'), /lies in .*data, which belongs to uid 12345/)
  },
)

test('may be a link to a private folder, and is then that folder', (t) => {
  const base = folder(t)
  mkdirSync(join(base, 'real'), { mode: 0o700 })
  symlinkSync(join(base, 'real'), join(base, 'link'))
  assert.equal(prepareDataDir(join(base, 'link')), join(base, 'real'))
})

test('is refused when it is a file, or lies below one', (t) => {
  const file = join(folder(t), 'file')
  writeFileSync(file, '')
  refused(file, /cannot be made|is not a directory/)
  refused(join(file, 'data'), /cannot be made/)
})

test('is neither made nor changed by a command that only looks', (t) => {
  const path = join(folder(t), 'data')
  assert.equal(findDataDir(path), null)
  assert.equal(existsSync(path), false)
  mkdirSync(path)
  chmodSync(path, 0o755)
  assert.throws(() => findDataDir(path), /has mode 0755/)
  assert.equal(statSync(path).mode & 0o777, 0o755)
})
