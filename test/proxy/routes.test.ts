import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PooledTargetClient } from '../../proxy/pooled-target-client.ts'
import { type Entry, Routes, readEntry } from '../../proxy/routes.ts'

function entry(path: string, body: object): readonly [string, Entry] {
  const read = readEntry(path, body)
  assert.ok(typeof read !== 'string')
  return [path, read]
}

const route = (path: string) => entry(path, { target: 'http://127.0.0.1:9', jupyterhub: true })
const grave = (path: string) => entry(path, { tombstone: {} })

function table(...entries: (readonly [string, Entry])[]): Routes {
  const routes = new Routes(new PooledTargetClient({ connect: 1_000, idle: 0, upgrade: 1_000 }))
  for (const each of entries) routes.set(...each)
  return routes
}

const count = 20_000
const many = (name: string) => Array.from({ length: count }, (_, i) => route(`/${name}/${i}`))

test('the old table serves until the new one is built, and others get their turn meanwhile', async () => {
  const routes = table(route('/old'))
  const replaced = routes.replace(many('new'), false)
  const seen = new Set<string>()
  let turns = 0
  while (routes.replacing) {
    seen.add(`${routes.size} ${routes.get('/old') !== undefined}`)
    turns += 1
    await new Promise(setImmediate)
  }
  await replaced
  assert.ok(turns > 1)
  assert.deepEqual(
    [...seen].filter((each) => each !== `${count} false`),
    ['1 true'],
  )
  assert.equal(routes.size, count)
  assert.equal(routes.get('/new/7')?.path, '/new/7')
})

test('tables replace each other in the order in which they come', async () => {
  const routes = table()
  await Promise.all(['first', 'second', 'third'].map((name) => routes.replace(many(name), false)))
  assert.equal(routes.size, count)
  assert.ok(routes.get('/third/0'))
  assert.equal(routes.replacing, null)
})

test('a replaced table keeps activity, and what is not of JupyterHub when asked to', async () => {
  const foreign = entry('/foreign', { target: 'http://127.0.0.1:8' })
  const routes = table(foreign, route('/a'), route('/b'), grave('/dead'), grave('/c'))
  routes.get('/a')?.touch(Date.now() + 60_000)
  const activity = routes.get('/a')?.lastActivity
  await routes.replace(
    [route('/a'), route('/c'), grave('/b'), grave('/both'), route('/both')],
    true,
  )
  assert.deepEqual(
    [...routes.all()].map(([path]) => path),
    ['/foreign', '/a', '/c', '/both'],
  )
  assert.deepEqual(
    [...routes.tombstones.all()].map(([path]) => path),
    ['/dead', '/b'],
  )
  assert.equal(routes.get('/a')?.lastActivity, activity)
  await routes.replace([route('/a')], false)
  assert.equal(routes.size, 1)
  assert.equal(routes.tombstones.size, 0)
})

test('other changes wait until everybody has the table', async () => {
  const routes = table(route('/old'))
  let publish = () => {}
  const published = new Promise<void>((resolve) => (publish = resolve))
  let wasInForce = false
  const replaced = routes.replace([route('/new')], false, () => {
    wasInForce = routes.get('/new') !== undefined
    return published
  })
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate)
  assert.ok(wasInForce)
  assert.ok(routes.replacing)
  publish()
  await replaced
  assert.equal(routes.replacing, null)
})
