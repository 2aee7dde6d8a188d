import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Endpoint, empty, endpoint, type Method } from '../../../hub/api/endpoint.ts'
import { pathTree } from '../../../hub/api/path-tree.ts'

const at = (method: Method, path: string): Endpoint =>
  endpoint({
    method,
    path,
    summary: '',
    access: { by: 'handler' },
    answers: {},
    handle: () => empty(200),
  })

const tree = pathTree([
  at('GET', '/'),
  at('GET', '/users'),
  at('POST', '/users'),
  at('GET', '/users/:user'),
  at('GET', '/users/:user/server'),
  at('GET', '/users/:user/servers/'),
  at('GET', '/users/:user/servers/:server'),
  at('GET', '/users/:user/servers/:server/progress'),
  at('GET', '/users/shared/:owner/deep'),
])

const found = (path: string, method = 'GET') => {
  const { endpoint: one, params } = tree.find(method, path)
  return [one.path, params]
}

const code = (method: string, path: string): string => {
  try {
    tree.find(method, path)
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'found'
}

describe('the path tree', () => {
  it('finds the root with and without its slash', () => {
    assert.deepEqual(found(''), ['/', {}])
    assert.deepEqual(found('/'), ['/', {}])
  })

  it('decodes each parameter once', () => {
    assert.deepEqual(found('/users/a%2Fb%2525'), ['/users/:user', { user: 'a/b%25' }])
    assert.deepEqual(found('/users/@ada~/servers/x%20y'), [
      '/users/:user/servers/:server',
      { user: '@ada~', server: 'x y' },
    ])
  })

  it('takes an empty last segment for what it says', () => {
    assert.deepEqual(found('/users/ada/servers/'), ['/users/:user/servers/', { user: 'ada' }])
    for (const path of ['/users/', '/users//server', '/users/ada/', '/users/ada/server/'])
      assert.equal(code('GET', path), 'not_found', path)
  })

  it('prefers a literal segment, and comes back from where it leads nowhere', () => {
    assert.equal(found('/users/shared/ada/deep')[0], '/users/shared/:owner/deep')
    assert.deepEqual(found('/users/shared/server'), ['/users/:user/server', { user: 'shared' }])
  })

  it('answers HEAD like GET, and tells a wrong method from a wrong path', () => {
    assert.equal(found('/users', 'HEAD')[0], '/users')
    assert.equal(code('DELETE', '/users'), 'method_not_allowed')
    assert.equal(code('DELETE', '/nothing'), 'not_found')
  })

  it('refuses bad percent-encoding', () => {
    for (const path of ['/users/%', '/users/%zz', '/users/%ff'])
      assert.equal(code('GET', path), 'invalid_request', path)
  })

  it('does not take two endpoints for one call', () => {
    assert.throws(() => pathTree([at('GET', '/a/:b'), at('GET', '/a/:c')]), /defined twice/)
  })
})
