import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RouteTable } from '../../proxy/route-table.ts'

const segments = (path: string) => path.split('/').slice(1)

function tableOf(...paths: string[]): RouteTable<string> {
  const table = new RouteTable<string>()
  for (const path of paths) table.set(path, path)
  return table
}

test('the longest prefix wins, whatever the order of adding', () => {
  for (const paths of [
    ['/', '/user', '/user/ada', '/user/ada/lab'],
    ['/user/ada/lab', '/user/ada', '/user', '/'],
  ]) {
    const table = tableOf(...paths)
    assert.equal(table.find(segments('/user/ada/lab/tree')), '/user/ada/lab')
    assert.equal(table.find(segments('/user/ada/other')), '/user/ada')
    assert.equal(table.find(segments('/user/bob')), '/user')
    assert.equal(table.find(segments('/hub')), '/')
  }
})

test('matches whole segments only', () => {
  const table = tableOf('/user/al')
  assert.equal(table.find(segments('/user/alice')), undefined)
  assert.equal(table.find(segments('/user')), undefined)
  assert.equal(table.find(segments('/user/al/')), '/user/al')
  assert.equal(table.find(segments('/user//al')), undefined)
})

test('treats the names of object members as names', () => {
  const table = tableOf('/user/constructor')
  assert.equal(table.find(['user', '__proto__']), undefined)
  assert.equal(table.find(['toString']), undefined)
  assert.equal(table.find(['user', 'constructor', 'x']), '/user/constructor')
})

test('removing an inner path keeps those below, removing a leaf keeps those above', () => {
  const table = tableOf('/', '/a', '/a/b')
  assert.equal(table.delete('/a'), '/a')
  assert.equal(table.find(['a', 'b']), '/a/b')
  assert.equal(table.find(['a']), '/')
  table.delete('/a/b')
  assert.equal(table.find(['a', 'b']), '/')
  assert.equal(table.delete('/a/b'), undefined)
})

test('knows its deepest path', () => {
  const table = tableOf('/', '/a/b/c', '/x/y')
  assert.equal(table.depth, 3)
  table.set('/a/b/c', 'again')
  table.delete('/a/b/c')
  assert.equal(table.depth, 2)
  table.delete('/x/y')
  assert.equal(table.depth, 0)
})

test('replaces everything at once', () => {
  const table = tableOf('/', '/old/path/here')
  table.become(tableOf('/new'))
  assert.equal(table.find(['old', 'path', 'here']), undefined)
  assert.equal(table.find(['new', 'x']), '/new')
  assert.equal(table.depth, 1)
  assert.equal(table.size, 1)
})

test('finds what a search through all paths finds', () => {
  let seed = 7
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below
  const names = ['', 'a', 'b', 'ab', '..', 'constructor']
  const path = () => Array.from({ length: random(5) }, () => names[random(6)] ?? '')
  const expected = new Map<string, string>()
  const table = new RouteTable<string>()
  for (let step = 0; step < 5_000; step += 1) {
    const key = `/${path()
      .filter((name) => name !== '')
      .join('/')}`
    if (random(3) === 0) {
      assert.equal(table.delete(key), expected.get(key))
      expected.delete(key)
    } else {
      table.set(key, key)
      expected.set(key, key)
    }
    const asked = path()
    assert.equal(table.find(asked), longest(expected.keys(), asked))
    assert.equal(table.size, expected.size)
  }
})

function longest(paths: Iterable<string>, asked: readonly string[]): string | undefined {
  const matches = [...paths].filter((path) => {
    const wanted = path === '/' ? [] : segments(path)
    return wanted.every((name, i) => asked[i] === name)
  })
  return matches.toSorted((a, b) => b.length - a.length)[0]
}

test('finding does not grow with the number of routes', () => {
  const table = new RouteTable<number>()
  for (let i = 0; i < 100_000; i += 1) table.set(`/user/u${i}`, i)
  const started = performance.now()
  for (let i = 0; i < 100_000; i += 1) table.find(['user', `u${i}`, 'lab'])
  assert.ok(performance.now() - started < 1_000)
})
