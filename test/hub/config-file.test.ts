import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  fileWarnings,
  findConfigFile,
  importModule,
  readConfigFile,
} from '../../hub/config-file.ts'
import { HubError } from '../../packages/core/errors.ts'

async function folderWith(t: TestContext, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'portico config ü '))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  return folder
}

async function failure(folder: string, name: string): Promise<string> {
  const error = await readConfigFile(join(folder, name)).then(
    () => assert.fail('it was read'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof HubError, String(error))
  assert.equal(error.code, 'invalid_request')
  return error.message
}

test('a TypeScript config anywhere finds portico, zod, builtins and its neighbours', async (t) => {
  const folder = await folderWith(t, {
    'portico.config.ts': `
      import { userInfo } from 'os'
      import { defineConfig } from 'portico/config'
      import { HubError } from 'portico/errors'
      import { z } from 'zod'
      import { users } from './parts/users.ts'
      const names: readonly string[] = users
      export default defineConfig({
        hub: { adminUsers: [...names, typeof userInfo, typeof z.string, HubError.name] },
      })`,
    'parts/users.ts': `export const users: string[] = ['ada']`,
  })
  assert.deepEqual(await readConfigFile(join(folder, 'portico.config.ts')), {
    hub: { adminUsers: ['ada', 'function', 'function', 'HubError'] },
  })
})

test('portico is the running installation: a driver and the hub share its classes', async (t) => {
  const folder = await folderWith(t, {
    'mine.ts': `export { HubError } from 'portico/errors'`,
  })
  assert.equal((await importModule(join(folder, 'mine.ts')))['HubError'], HubError)
})

test('packages beside the config are found, ES modules and CommonJS', async (t) => {
  const folder = await folderWith(t, {
    'portico.config.mjs': `
      import one from 'one'
      import two from 'two'
      export default { hub: { adminUsers: [one, two] } }`,
    'node_modules/one/package.json': '{"name":"one","type":"module","exports":"./main.js"}',
    'node_modules/one/main.js': `export default 'one'`,
    'node_modules/two/package.json': '{"name":"two","main":"main.js"}',
    'node_modules/two/main.js': `module.exports = 'two'`,
  })
  assert.deepEqual(await readConfigFile(join(folder, 'portico.config.mjs')), {
    hub: { adminUsers: ['one', 'two'] },
  })
})

test('import.meta tells where the config lies', async (t) => {
  const folder = await folderWith(t, {
    'portico.config.js': `export default [import.meta.dirname, new URL('x', import.meta.url).pathname]`,
  })
  assert.deepEqual(await readConfigFile(join(folder, 'portico.config.js')), [
    folder,
    new URL(`file://${folder}/x`).pathname,
  ])
})

test('a JSON config needs no export', async (t) => {
  const folder = await folderWith(t, { 'portico.config.json': '{"hub":{"baseUrl":"/x"}}' })
  assert.deepEqual(await readConfigFile(join(folder, 'portico.config.json')), {
    hub: { baseUrl: '/x' },
  })
})

test('a config read twice is run twice, so that a change counts', async (t) => {
  const folder = await folderWith(t, { 'portico.config.mjs': 'export default { a: 1 }' })
  const file = join(folder, 'portico.config.mjs')
  assert.deepEqual(await readConfigFile(file), { a: 1 })
  await writeFile(file, 'export default { a: 2 }')
  assert.deepEqual(await readConfigFile(file), { a: 2 })
})

test('nothing is left in the temporary folder', async (t) => {
  const before = await readdir(tmpdir())
  const folder = await folderWith(t, {
    'good.ts': 'export default {}',
    'bad.ts': `throw new Error('boom')`,
  })
  await readConfigFile(join(folder, 'good.ts'))
  await failure(folder, 'bad.ts')
  const added = (await readdir(tmpdir())).filter((name) => !before.includes(name))
  assert.deepEqual(
    added.filter((name) => name.startsWith('portico-config-')),
    [],
  )
})

for (const [name, content, expected] of [
  ['syntax.ts', 'const a = 1\n\nexport default {,}', /syntax\.ts:3:17: Expected identifier/],
  ['syntax.json', '{\n "a": 1\n "b": 2\n}', /syntax\.json:3:2: Expected ","/],
  ['type.mjs', 'export default { a: 1 as number }', /type\.mjs:1:\d+: Expected/],
  ['empty.json', '', /empty\.json:1:1: Unexpected end of file/],
  [
    'throws.ts',
    `interface A { a: 1 }\n\nfunction f(): A {\n  throw new Error('boom')\n}\nexport default f()`,
    /throws\.ts(:4:\d+)?: boom/,
  ],
  ['throws-text.mjs', `throw 'boom'`, /throws-text\.mjs: boom/],
  ['rejects.mjs', `export default await Promise.reject(new Error('late'))`, /late/],
  ['no-default.mjs', 'export const config = {}', /has no default export: write 'export default/],
  [
    'no-such-part.ts',
    `import 'portico/nothing'\nexport default {}`,
    /1:8: Portico has no 'portico\/nothing'/,
  ],
  ['no-such-package.ts', `import 'no-such-package'\nexport default {}`, /1:8: .*no-such-package/],
  ['no-such-file.ts', `import './gone.ts'\nexport default {}`, /1:8: .*gone\.ts/],
] as const) {
  test(`${name} is refused with its place`, async (t) => {
    const folder = await folderWith(t, { [name]: content })
    const message = await failure(folder, name)
    assert.match(message, expected)
    assert.ok(message.startsWith(folder), message)
  })
}

test('binary rubbish is refused', async (t) => {
  const folder = await folderWith(t, {})
  await writeFile(join(folder, 'portico.config.ts'), Buffer.from([0, 255, 254, 1, 2, 3]))
  await failure(folder, 'portico.config.ts')
})

test('a folder in place of a config is refused', async (t) => {
  const folder = await folderWith(t, { 'portico.config.ts/x': '' })
  await failure(folder, 'portico.config.ts')
})

test('the config file is the one named, or the only one in the folder', async (t) => {
  const folder = await folderWith(t, { 'portico.config.js': '', 'other.ts': '' })
  assert.equal(findConfigFile(folder), join(folder, 'portico.config.js'))
  assert.equal(findConfigFile(folder, 'other.ts'), join(folder, 'other.ts'))
  assert.equal(findConfigFile(join(folder, 'empty')), null)
  assert.throws(() => findConfigFile(folder, 'gone.ts'), /gone\.ts: there is no such config file/)
})

test('two config files in one folder are refused', async (t) => {
  const folder = await folderWith(t, { 'portico.config.js': '', 'portico.config.ts': '' })
  assert.throws(() => findConfigFile(folder), /name one of them with --config/)
})

test('secrets in a file that others may read give a warning', async (t) => {
  const folder = await folderWith(t, { 'portico.config.ts': '' })
  const file = join(folder, 'portico.config.ts')
  const input = { authenticator: { clients: [{ clientSecret: 'x' }] } }
  await chmod(file, 0o644)
  const [warning] = fileWarnings(file, input)
  assert.equal(warning?.path, 'authenticator.clients.0.clientSecret')
  assert.match(warning?.message ?? '', /chmod 600 .*A2-32/)
  assert.deepEqual(fileWarnings(file, { hub: { tokenExpiresInMaxSeconds: 5 } }), [])
  await chmod(file, 0o600)
  assert.deepEqual(fileWarnings(file, input), [])
})
