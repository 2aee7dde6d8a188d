import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  allows,
  covers,
  defaultRoles,
  expandScopes,
  holdsAny,
  intersectScopes,
  isScope,
  type Resource,
} from '../../packages/core/scopes.ts'

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
  'custom:grades:read',
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

/** Repeatable random numbers below `bound` (mulberry32). */
function dice(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

function pick<T>(roll: (bound: number) => number, from: readonly T[]): T {
  const chosen = from[roll(from.length)]
  if (chosen === undefined) throw new Error('nothing to pick from')
  return chosen
}

/** Up to six raw scopes. */
function someScopes(roll: (bound: number) => number): readonly string[] {
  return Array.from({ length: roll(7) }, () => pick(roll, bases) + pick(roll, filters))
}

const rounds = 400
const owner = { userName: 'ada', server: 'ada/lab' }

function eachRound(body: (roll: (bound: number) => number, hint: string) => void): void {
  for (let seed = 1; seed <= rounds; seed += 1) body(dice(seed), `seed ${seed}`)
}

const sorted = (scopes: ReadonlySet<string>): readonly string[] => [...scopes].toSorted()

describe('expansion', () => {
  it('changes nothing when repeated', () => {
    eachRound((roll, hint) => {
      const once = expandScopes(someScopes(roll), owner)
      assert.deepEqual(sorted(expandScopes(once, owner)), sorted(once), hint)
    })
  })

  it('leaves no filter that names its owner, and no filtered form beside the bare one', () => {
    eachRound((roll, hint) => {
      const expanded = expandScopes(someScopes(roll), owner)
      for (const scope of expanded) {
        assert.doesNotMatch(scope, /!(?:user|server|service)$/, hint)
        const [base = '', filter] = scope.split('!')
        assert.ok(filter === undefined || !expanded.has(base), `${scope}, ${hint}`)
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
    eachRound((roll, hint) => {
      const granted = expandScopes(someScopes(roll), owner)
      for (const base of bases)
        if (!granted.has(base)) assert.equal(allows(granted, base, { kind: 'none' }), false, hint)
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

  it('does not take a prefix of a name for the name', () => {
    const granted = new Set(['read:users!user=al'])
    assert.equal(allows(granted, 'read:users', { kind: 'user', user: 'alice' }), false)
    assert.equal(allows(granted, 'read', { kind: 'user', user: 'al' }), false)
  })
})

describe('intersection', () => {
  it('is the same from both sides', () => {
    eachRound((roll, hint) => {
      const left = expandScopes(someScopes(roll), owner)
      const right = expandScopes(someScopes(roll), owner)
      assert.deepEqual(
        sorted(intersectScopes(left, right, groupsOf)),
        sorted(intersectScopes(right, left, groupsOf)),
        hint,
      )
    })
  })

  it('never allows what one of the sides does not', () => {
    eachRound((roll, hint) => {
      const left = expandScopes(someScopes(roll), owner)
      const right = expandScopes(someScopes(roll), owner)
      const both = intersectScopes(left, right, groupsOf)
      for (const resource of resources)
        for (const base of bases)
          if (allows(both, base, resource, groupsOf)) {
            const where = `${base} on ${JSON.stringify(resource)}, ${hint}`
            assert.ok(allows(left, base, resource, groupsOf), `left: ${where}`)
            assert.ok(allows(right, base, resource, groupsOf), `right: ${where}`)
          }
    })
  })

  it('of a set with itself is the set', () => {
    eachRound((roll, hint) => {
      const set = expandScopes(someScopes(roll), owner)
      assert.deepEqual(sorted(intersectScopes(set, set, groupsOf)), sorted(set), hint)
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
