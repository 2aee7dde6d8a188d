import assert from 'node:assert/strict'
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { rotateLog, tailFile } from 'portico/process'

const folder = mkdtempSync(join(tmpdir(), 'portico-log-'))
after(() => rmSync(folder, { recursive: true }))

describe('the tail of a log', () => {
  it('holds the last lines, oldest first', async () => {
    const path = join(folder, 'lines')
    writeFileSync(path, 'one\ntwo\r\n\nfour\nunfinished')
    assert.deepEqual(await tailFile(path, 4), ['two', '', 'four', 'unfinished'])
    assert.deepEqual(await tailFile(path, 100), ['one', 'two', '', 'four', 'unfinished'])
    assert.deepEqual(await tailFile(path, 0), [])
  })

  it('drops a line whose beginning was not read', async () => {
    const path = join(folder, 'long')
    writeFileSync(path, `${'x'.repeat(100)}\nlast\n`)
    assert.deepEqual(await tailFile(path, 5, 20), ['last'])
    assert.deepEqual(await tailFile(path, 5, 4), ['ast'])
  })

  it('is empty when there is no log', async () => {
    assert.deepEqual(await tailFile(join(folder, 'none'), 5), [])
  })

  it('is not read through a symbolic link', async () => {
    const path = join(folder, 'link')
    symlinkSync('/etc/passwd', path)
    await assert.rejects(tailFile(path, 5), { code: 'ELOOP' })
  })
})

describe('rotation', () => {
  it('keeps one old copy, and writers go on in the emptied file', async () => {
    const path = join(folder, 'rotated')
    writeFileSync(path, 'a'.repeat(50), { mode: 0o600 })
    await rotateLog(path, 50)
    assert.equal(statSync(path).size, 50)
    appendFileSync(path, 'b')
    const { ino } = statSync(path)
    await rotateLog(path, 50)
    assert.deepEqual([statSync(path).ino, statSync(path).size], [ino, 0])
    assert.equal(readFileSync(`${path}.1`, 'utf8'), `${'a'.repeat(50)}b`)
    assert.equal(statSync(`${path}.1`).mode & 0o777, 0o600)
    appendFileSync(path, 'c'.repeat(60))
    await rotateLog(path, 50)
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'c'.repeat(60))
  })

  it('does nothing without a log', async () => {
    await rotateLog(join(folder, 'none'), 0)
  })
})
