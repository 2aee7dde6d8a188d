import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { AuthenticatorDriver } from 'portico/authenticator'
import { z } from 'zod'
import { oauthOptions } from '../../authenticators/oauth/options.ts'
import { authenticatorSchema, hubSchema, spawnerSchema } from '../../hub/config/schema.ts'
import { serviceSchema } from '../../hub/config/services.ts'
import { loadConfig } from '../../hub/config.ts'
import { drivers } from '../support/drivers.ts'

interface Row {
  readonly option: string
  readonly jupyterHub: string
  readonly fallback: string
  readonly otherFallback: string
  readonly meaning: string
}

/** The tables of `docs/options.md` by their heading. */
function readTables(): ReadonlyMap<string, readonly Row[]> {
  const text = readFileSync(join(import.meta.dirname, '../../docs/options.md'), 'utf8')
  const sections = text.split(/^## /m).slice(1)
  return new Map(
    sections.map((section) => {
      const [heading = '', ...lines] = section.split('\n')
      const rows = lines.filter((line) => line.startsWith('| `')).map(readRow)
      return [heading.trim(), rows]
    }),
  )
}

function readRow(line: string): Row {
  const cells = line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))
  const [option = '', jupyterHub = '', fallback = '', otherFallback = '', meaning = ''] = cells
  return { option: option.replaceAll('`', ''), jupyterHub, fallback, otherFallback, meaning }
}

function defaultOf(option: z.core.$ZodType): string {
  const result = z.safeParse(option, undefined)
  if (!result.success) return 'required'
  if (result.data === undefined) return 'not set'
  return `\`${JSON.stringify(result.data ?? '')}\``
}

/** Options that every OAuth provider has stand in one table, but for those whose defaults differ. */
const oauthShared = oauthOptions({
  loginService: 'x',
  scope: [],
  usernameClaim: 'x',
  authStateGroupsKey: '',
})
const ownDefaults = ['loginService', 'scope', 'usernameClaim', 'authStateGroupsKey']

const hasSharedOptions = ({ config }: AuthenticatorDriver): boolean =>
  Object.keys(oauthShared).every((name) => name in config.shape)

const omit = (shape: z.core.$ZodShape, names: readonly string[]): z.core.$ZodShape =>
  Object.fromEntries(Object.entries(shape).filter(([name]) => !names.includes(name)))

function withoutShared({ shape }: z.ZodObject): z.ZodObject {
  const shared = Object.keys(oauthShared).filter((name) => !ownDefaults.includes(name))
  return z.object(omit(shape, shared))
}

const tables = readTables()
const kinds: [heading: string, schema: z.ZodObject][] = [
  ['hub', hubSchema],
  ['authenticator', authenticatorSchema],
  ['spawner', spawnerSchema],
  ['services', serviceSchema],
  ...drivers.proxies.map((driver): [string, z.ZodObject] => [
    `proxy: ${driver.name}`,
    driver.config,
  ]),
  ['authenticator: every OAuth provider', z.object(omit(oauthShared, ownDefaults))],
  ...drivers.authenticators.map((driver): [string, z.ZodObject] => [
    `authenticator: ${driver.name}`,
    hasSharedOptions(driver) ? withoutShared(driver.config) : driver.config,
  ]),
  ...drivers.spawners.map((driver): [string, z.ZodObject] => [
    `spawner: ${driver.name}`,
    driver.config,
  ]),
]

for (const [heading, schema] of kinds) {
  describe(`docs/options.md, ${heading}`, () => {
    const rows = (tables.get(heading) ?? []).filter((row) => row.option !== 'driver')

    test('lists exactly the options there are', () => {
      const listed = rows.map((row) => row.option)
      assert.deepEqual(listed.toSorted(), Object.keys(schema.shape).toSorted())
    })

    for (const row of rows) {
      test(`tells the default of ${row.option}`, () => {
        const option = schema.shape[row.option]
        assert.ok(option, 'there is no such option')
        assert.equal(row.fallback, defaultOf(option))
        assert.notEqual(row.otherFallback, row.fallback)
        assert.ok(row.meaning.length > 10)
      })
    }

    test("keeps JupyterHub's names, in camelCase", () => {
      for (const { option, jupyterHub } of rows) {
        if (jupyterHub === '–' || option === 'homeDir') continue
        const name = /(\w+)(?:"\])?`/.exec(jupyterHub)?.[1] ?? ''
        const camel = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
        assert.equal(camel, option)
      }
    })
  })
}

test('docs/options.md has no table for what does not exist', () => {
  const headings = [...kinds.map(([heading]) => heading), 'proxy']
  assert.deepEqual([...tables.keys()].toSorted(), headings.toSorted())
})

test('docs/options.md tells the default drivers', async () => {
  const input = { authenticator: { driver: 'dummy' } }
  const loaded = await loadConfig(input, drivers, { source: '', folder: '/' })
  assert.ok('config' in loaded)
  const told = (section: string) =>
    tables.get(section)?.find((row) => row.option === 'driver')?.fallback
  assert.equal(told('proxy'), `\`"${loaded.config.proxy.driver.name}"\``)
  assert.equal(told('spawner'), `\`"${loaded.config.spawner.driver.name}"\``)
  assert.equal(told('authenticator'), 'required')
})
