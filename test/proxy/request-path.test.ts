import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readRequestPath } from '../../proxy/request-path.ts'

function segmentsOf(url: string, depth = 3): readonly string[] {
  const read = readRequestPath(url, depth)
  assert.equal(read.kind, 'path', `${url} is refused`)
  return read.kind === 'path' ? read.segments : []
}

function isRefused(url: string, depth = 3): boolean {
  return readRequestPath(url, depth).kind === 'refused'
}

test('decodes each segment once, without the query', () => {
  assert.deepEqual(segmentsOf('/user/a%40b%20c/x?y=/z/..'), ['user', 'a@b c', 'x'])
  assert.deepEqual(segmentsOf('/user/%25252e/'), ['user', '%252e', ''])
  assert.deepEqual(segmentsOf('/user/%E7%A7%80%E6%A8%B9'), ['user', '秀樹'])
  assert.deepEqual(segmentsOf('/'), [''])
  assert.deepEqual(segmentsOf('/a/b', 0), [])
})

test('refuses dot segments anywhere, however they are spelled', () => {
  for (const dots of ['.', '..', '%2e', '%2E%2e', '.%2e']) {
    for (const url of [`/${dots}`, `/a/${dots}/b`, `/a/b/c/d/e/${dots}`, `/a/b/c/d/${dots}?q`]) {
      assert.ok(isRefused(url), url)
    }
  }
  assert.ok(isRefused('/a/b/c/d/x%2F..%2Fy'))
  assert.ok(isRefused('/a/b/c/d/x\\..\\y'))
  for (const url of ['/.hidden', '/a/...', '/a/b..c', '/a/..b', '/%2ehidden']) {
    assert.ok(!isRefused(url), url)
  }
})

test('refuses what looks like a separator only where it decides about the route', () => {
  for (const mark of ['%2f', '%2F', '%5c', '%5C', '\\', '%00']) {
    assert.ok(isRefused(`/user/a${mark}b`), mark)
    assert.ok(isRefused(`/user/a/b${mark}c`), mark)
    assert.ok(!isRefused(`/user/a/b/c${mark}d`), mark)
    assert.ok(!isRefused(`/user/a${mark}b`, 1), mark)
    assert.ok(!isRefused(`/user?path=${mark}`), mark)
  }
})

test('refuses what is no path', () => {
  for (const url of [
    '',
    '*',
    'user',
    '//evil.test/user/a',
    '/user#x',
    '/a?b#c',
    '/%',
    '/a%zz',
    '/%ff',
    '/a/b/c/d/%2',
    '/a b',
    '/\u00e9',
  ]) {
    assert.ok(isRefused(url), url)
  }
})

test('takes time in proportion to the length', () => {
  const started = performance.now()
  for (const unit of ['/', '/a', '/.a', '%2e', '%2f', '/%2e', '.%2e'])
    readRequestPath(`/${unit.repeat(15_000)}`, 3)
  assert.ok(performance.now() - started < 500)
})
