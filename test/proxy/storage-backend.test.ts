import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/folder.ts'
import { ask } from './ask.ts'
import { httpTarget, testProxy } from './support.ts'

/** Knows one route at most; what it does with a question is said by the end of the path. */
const module = `
module.exports = class {
  #known = null
  getTarget(path) {
    if (path.endsWith('/broken')) return Promise.reject()
    if (path.endsWith('/silent')) return new Promise(() => {})
    return Promise.resolve(this.#known)
  }
  async getAll() { return this.#known ? { [this.#known.prefix]: this.#known.data } : {} }
  async add(prefix, data) { this.#known = { prefix, data } }
  async update(path, data) { Object.assign(this.#known.data, data) }
  async remove() { this.#known = null }
}
`

test('a storage backend that fails or keeps silent leaves requests to what is known', async (t) => {
  const storageBackend = join(temporaryFolder(t), 'backend.cjs')
  writeFileSync(storageBackend, module)
  await using target = await httpTarget()
  await using proxy = await testProxy({ storageBackend })
  await proxy.route('/user/ada', target.url)
  for (const path of ['/user/ada/broken', '/user/ada/silent'])
    assert.equal((await ask(`${proxy.url}${path}`)).status, 200, path)
  assert.equal((await ask(`${proxy.url}/elsewhere/broken`)).status, 404)
  const told = proxy.lines.filter((line) => line.includes('the storage backend failed'))
  assert.equal(told.length, 3, told.join(''))
  assert.match(told[1] ?? '', /no answer in time/)
})
