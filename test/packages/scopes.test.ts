import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { builtInScopes, scopeCatalogue } from '../../packages/core/scope-catalogue.ts'
import {
  allows,
  covers,
  defaultRoles,
  expandScopes,
  filtersOf,
  holdsAny,
  intersectScopes,
  isCustomScopeName,
  isScope,
  type Resource,
  unknownScopes,
} from '../../packages/core/scopes.ts'

const catalogue = scopeCatalogue({
  'custom:grades:read': { description: 'Read grades' },
  'custom:grades:write': { description: 'Set grades', subscopes: ['custom:grades:read'] },
})
const bases = [
  'self',
  'inherit',
  'admin:users',
  'users',
  'list:users',
  'read:users',
  'read:users:name',
  'users:activity',
  'servers',
  'read:servers',
  'start:servers',
  'access:servers',
  'shares',
  'tokens',
  'admin:groups',
  'list:groups',
  'admin:services',
  'read:hub',
  'custom:grades:write',
]
const users = ['ada', 'bob', 'eve']
const groups = ['g1', 'g2']
const filters = [
  '',
  '',
  '!user',
  '!server',
  '!service',
  '!user=ada',
  '!user=bob',
  '!group=g1',
  '!group=g2',
  '!server=ada/',
  '!server=ada/lab',
  '!server=bob/',
  '!service=culler',
]
const groupsOf = (user: string): readonly string[] => (user === 'ada' ? ['g1'] : [])
const resources: readonly Resource[] = [
  { kind: 'none' },
  ...users.map((user) => ({ kind: 'user', user }) as const),
  ...users.flatMap((user) =>
    ['', 'lab'].map((server) => ({ kind: 'server', user, server }) as const),
  ),
  ...groups.map((group) => ({ kind: 'group', group }) as const),
  { kind: 'service', service: 'culler' },
]

/** Up to six raw scopes. */
const someScopes = fc.array(
  fc.tuple(fc.constantFrom(...bases), fc.constantFrom(...filters)).map((parts) => parts.join('')),
  { maxLength: 6 },
)
const owner = { userName: 'ada', server: 'ada/lab' }
const expanded = someScopes.map((scopes) => expandScopes(scopes, owner, catalogue))

/** Holds for every set of expanded scopes; what fails is shrunk to the least such set. */
function forAll(claim: (scopes: ReadonlySet<string>) => void): void {
  fc.assert(fc.property(expanded, claim), { numRuns: 400 })
}

function forAllPairs(claim: (left: ReadonlySet<string>, right: ReadonlySet<string>) => void): void {
  fc.assert(fc.property(expanded, expanded, claim), { numRuns: 400 })
}

const sorted = (scopes: ReadonlySet<string>): readonly string[] => [...scopes].toSorted()

/** The catalogue of JupyterHub 6, each scope with those it directly includes. */
const jupyterHubScopes: readonly (readonly [scope: string, included: string])[] = [
  ['(no_scope)', ''],
  ['self', ''],
  ['inherit', ''],
  ['admin-ui', ''],
  ['admin:users', 'admin:auth_state users read:roles:users delete:users'],
  ['admin:auth_state', ''],
  ['users', 'read:users list:users users:activity'],
  ['delete:users', ''],
  ['list:users', 'read:users:name'],
  ['read:users', 'read:users:name read:users:groups read:users:activity'],
  ['read:users:name', ''],
  ['read:users:groups', ''],
  ['read:users:activity', ''],
  ['read:roles', 'read:roles:users read:roles:services read:roles:groups'],
  ['read:roles:users', ''],
  ['read:roles:services', ''],
  ['read:roles:groups', ''],
  ['users:activity', 'read:users:activity'],
  ['admin:servers', 'admin:server_state servers'],
  ['admin:server_state', ''],
  ['servers', 'read:servers start:servers delete:servers'],
  ['read:servers', 'read:users:name'],
  ['start:servers', ''],
  ['delete:servers', ''],
  ['tokens', 'read:tokens'],
  ['read:tokens', ''],
  ['admin:groups', 'groups read:roles:groups delete:groups'],
  ['groups', 'read:groups list:groups'],
  ['list:groups', 'read:groups:name'],
  ['read:groups', 'read:groups:name'],
  ['read:groups:name', ''],
  ['delete:groups', ''],
  ['admin:services', 'list:services read:services read:roles:services'],
  ['list:services', 'read:services:name'],
  ['read:services', 'read:services:name'],
  ['read:services:name', ''],
  ['read:hub', ''],
  ['access:servers', ''],
  ['access:services', ''],
  ['users:shares', 'read:users:shares'],
  ['groups:shares', 'read:groups:shares'],
  ['read:users:shares', ''],
  ['read:groups:shares', ''],
  ['read:shares', ''],
  ['shares', 'access:servers read:shares users:shares groups:shares'],
  ['proxy', ''],
  ['shutdown', ''],
  ['read:metrics', ''],
]

describe('the catalogue', () => {
  for (const [scope, included] of jupyterHubScopes)
    it(`has ${scope}${included && ` with ${included}`}`, () => {
      const direct = included === '' ? [] : included.split(' ')
      const all = new Set([scope, ...direct])
      for (const one of all)
        for (const [name, more] of jupyterHubScopes)
          if (name === one && more !== '') for (const sub of more.split(' ')) all.add(sub)
      assert.deepEqual(builtInScopes.withSubscopes(scope).toSorted(), [...all].toSorted())
      assert.ok(builtInScopes.describe(scope))
    })

  it('has custom scopes where the config defines them', () => {
    assert.ok(isScope('custom:grades:write!group=g1', catalogue))
    assert.ok(!isScope('custom:grades:write'))
    assert.deepEqual(sorted(expandScopes(['custom:grades:write!user=ada'], {}, catalogue)), [
      'custom:grades:read!user=ada',
      'custom:grades:write!user=ada',
    ])
    assert.ok(isCustomScopeName('custom:jupyter_server:read:*'))
    for (const name of ['custom:', 'custom:a', 'custom:Ab', 'custom:_a', 'custom:a-', 'grades'])
      assert.ok(!isCustomScopeName(name), name)
  })

  it('says what was meant by a scope of an earlier draft', () => {
    assert.deepEqual(unknownScopes(['all', 'servers', 'server']), [
      '"all" (is "inherit" meant?)',
      '"server"',
    ])
  })
})

describe('expansion', () => {
  it('changes nothing when repeated', () => {
    forAll((once) => {
      assert.deepEqual(sorted(expandScopes(once, owner, catalogue)), sorted(once))
    })
  })

  it('leaves no filter that names its owner, and no filtered form beside the bare one', () => {
    forAll((scopes) => {
      for (const scope of scopes) {
        assert.doesNotMatch(scope, /!(?:user|server|service)$/)
        const [base = '', filter] = scope.split('!')
        assert.ok(filter === undefined || !scopes.has(base), scope)
      }
    })
  })

  it('grants what is unknown to nobody', () => {
    const unknown = [
      'all',
      'admin',
      'read:user',
      'users!',
      'users!group',
      'users!name=ada',
      '!user',
      'self!user=ada',
      'inherit!user=ada',
    ]
    for (const scope of [...unknown, 'servers!server=ada', '__proto__', 'constructor!user=ada']) {
      assert.equal(isScope(scope), false, scope)
      assert.deepEqual(sorted(expandScopes([scope], owner)), [], scope)
    }
  })

  it('makes of self the fifteen scopes of JupyterHub, and none for an owner without a name', () => {
    const own = expandScopes(['self'], { userName: 'ada' })
    assert.equal(own.size, 15)
    assert.ok([...own].every((scope) => scope.endsWith('!user=ada')))
    assert.ok(!holdsAny(own, 'shares') && !holdsAny(own, 'list:users'))
    assert.equal(expandScopes(['self'], {}).size, 0)
  })

  it('drops self-filters that have no target', () => {
    assert.deepEqual(sorted(expandScopes(['servers!server', 'access:services!service'], {})), [])
  })

  it('does not let a server filter reach the user models', () => {
    const expanded = expandScopes(['admin:servers!server=ada/'], owner)
    assert.ok(expanded.has('read:servers!server=ada/'))
    assert.ok(![...expanded].some((scope) => scope.startsWith('read:user')))
  })

  it('gives every default role only scopes that exist', () => {
    for (const { scopes } of defaultRoles)
      for (const scope of scopes) assert.ok(isScope(scope), scope)
  })
})

describe('a check', () => {
  it('never passes a filtered scope where an unfiltered one is needed', () => {
    forAll((granted) => {
      for (const base of bases)
        if (!granted.has(base))
          assert.equal(allows(granted, base, { kind: 'none' }, groupsOf), false, base)
    })
  })

  it('passes a filtered scope for what the filter names, and nothing else', () => {
    const granted = new Set(['read:servers!server=ada/lab', 'read:users!group=g1'])
    const seen = (scope: string) =>
      resources.filter((resource) => allows(granted, scope, resource, groupsOf))
    assert.deepEqual(seen('read:servers'), [{ kind: 'server', user: 'ada', server: 'lab' }])
    assert.deepEqual(
      seen('read:users').map((resource) => JSON.stringify(resource)),
      [
        '{"kind":"user","user":"ada"}',
        '{"kind":"server","user":"ada","server":""}',
        '{"kind":"server","user":"ada","server":"lab"}',
        '{"kind":"group","group":"g1"}',
      ],
    )
  })

  it('passes a service for its own tokens, as long as they name it', () => {
    const granted = expandScopes(['read:services!service', 'self'], { serviceName: 'culler' })
    assert.deepEqual(sorted(granted), [
      'read:services!service=culler',
      'read:services:name!service=culler',
    ])
  })

  it('knows which names are filtered for, by kind', () => {
    const granted = new Set(['list:users!user=ada', 'list:users!group=g1', 'users!user=bob'])
    const { user, group, server } = filtersOf(granted, 'list:users')
    assert.deepEqual([user, group, server], [['ada'], ['g1'], []])
  })

  it('does not take a prefix of a name for the name', () => {
    const granted = new Set(['read:users!user=al'])
    assert.equal(allows(granted, 'read:users', { kind: 'user', user: 'alice' }), false)
    assert.equal(allows(granted, 'read', { kind: 'user', user: 'al' }), false)
  })
})

describe('intersection', () => {
  it('is the same from both sides', () => {
    forAllPairs((left, right) => {
      assert.deepEqual(
        sorted(intersectScopes(left, right, groupsOf)),
        sorted(intersectScopes(right, left, groupsOf)),
      )
    })
  })

  it('never allows what one of the sides does not', () => {
    forAllPairs((left, right) => {
      const both = intersectScopes(left, right, groupsOf)
      for (const resource of resources)
        for (const base of bases)
          if (allows(both, base, resource, groupsOf)) {
            const where = `${base} on ${JSON.stringify(resource)}`
            assert.ok(allows(left, base, resource, groupsOf), `left: ${where}`)
            assert.ok(allows(right, base, resource, groupsOf), `right: ${where}`)
          }
    })
  })

  it('of a set with itself is the set', () => {
    forAll((set) => {
      assert.deepEqual(sorted(intersectScopes(set, set, groupsOf)), sorted(set))
    })
  })

  it('keeps a server of a user, and a user of a group that is known', () => {
    const server = new Set(['read:servers!server=ada/lab'])
    assert.deepEqual(
      sorted(intersectScopes(server, new Set(['read:servers!user=ada']))),
      sorted(server),
    )
    const group = new Set(['read:servers!group=g1'])
    assert.deepEqual(sorted(intersectScopes(server, group, groupsOf)), sorted(server))
    assert.deepEqual(sorted(intersectScopes(server, group)), [], 'groups that nobody knows')
  })

  it('covers exactly what it grants', () => {
    const granted = new Set(['users', 'servers!user=ada'])
    assert.ok(covers(granted, 'users!user=bob'))
    assert.ok(covers(granted, 'servers!server=ada/x'))
    assert.ok(!covers(granted, 'servers'))
    assert.ok(!covers(granted, 'servers!user=bob'))
    assert.ok(!covers(granted, 'servers!server=bob/'))
  })
})
