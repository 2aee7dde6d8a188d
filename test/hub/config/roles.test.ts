import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type ConfigInput, describeProblem, loadConfig } from '../../../hub/config.ts'
import { drivers } from '../../support/drivers.ts'

type HubInput = NonNullable<ConfigInput['hub']>

async function load(hub: HubInput) {
  const input = { hub, authenticator: { driver: 'dummy', allowAll: true } }
  return loadConfig(input, drivers, { source: '', folder: '/' })
}

async function problemsOf(hub: HubInput): Promise<readonly string[]> {
  const loaded = await load(hub)
  return 'problems' in loaded ? loaded.problems.map(describeProblem) : []
}

describe('roles in the config', () => {
  it('may use custom scopes, and name anybody', async () => {
    assert.deepEqual(
      await problemsOf({
        customScopes: {
          'custom:grades:read': { description: 'Read grades' },
          'custom:grades:write': { description: 'Grade', subscopes: ['custom:grades:read'] },
        },
        loadRoles: [
          { name: 'grader', scopes: ['custom:grades:write!group=g'], groups: ['Course A'] },
          { name: 'admin', users: ['ada'] },
          { name: 'empty' },
        ],
        loadGroups: { 'Course A': ['ada'], other: { users: ['bob'], properties: { x: [1] } } },
        extraUserScopes: ['custom:grades:read'],
      }),
      [],
    )
  })

  const wrong: readonly (readonly [what: string, hub: HubInput, message: RegExp])[] = [
    [
      'a scope that does not exist, with its role',
      { loadRoles: [{ name: 'reader', scopes: ['read:users', 'read:user', 'all'] }] },
      /^hub\.loadRoles\[0\]\.scopes: the role reader names scopes that do not exist: "read:user", "all" \(is "inherit" meant\?\)$/,
    ],
    [
      'two roles of one name',
      { loadRoles: [{ name: 'one' }, { name: 'two' }, { name: 'one' }] },
      /^hub\.loadRoles\[2\]: the role one is defined twice/,
    ],
    [
      'another meaning of admin',
      { loadRoles: [{ name: 'admin', scopes: ['self'] }] },
      /^hub\.loadRoles\[0\]: the role admin cannot be redefined/,
    ],
    ['a bad name', { loadRoles: [{ name: 'Reader' }] }, /^hub\.loadRoles\[0\]\.name: is no name/],
    [
      'an unknown key',
      { loadRoles: [{ name: 'reader', scope: [] } as never] },
      /^hub\.loadRoles\[0\].*scope/,
    ],
    [
      'a custom scope without its prefix',
      { customScopes: { grades: { description: 'x' } } },
      /^hub\.customScopes.*no name of a custom scope/,
    ],
    [
      'a custom scope that includes one that is not defined',
      { customScopes: { 'custom:aaa': { description: 'x', subscopes: ['custom:bbb'] } } },
      /^hub\.customScopes\.custom:aaa\.subscopes: .*custom:bbb/,
    ],
    ['an extra scope that does not exist', { extraUserScopes: ['x'] }, /^hub\.extraUserScopes: /],
    [
      'a group that is no list',
      { loadGroups: { g: 'ada' as never } },
      /^hub\.loadGroups\.g: must be/,
    ],
  ]
  for (const [what, hub, message] of wrong)
    it(`are refused for ${what}`, async () => {
      const problems = await problemsOf(hub)
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', message)
    })

  it('warn of extra scopes that a role of the same file makes void', async () => {
    const loaded = await load({
      extraUserScopes: ['shares!user'],
      loadRoles: [{ name: 'user', scopes: ['self'] }],
    })
    assert.ok('config' in loaded)
    assert.deepEqual(
      loaded.warnings.map(({ path }) => path),
      ['hub.extraUserScopes'],
    )
  })
})
