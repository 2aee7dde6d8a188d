import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { z } from 'zod'
import { defineConfig, quickStartConfig } from '../../hub/config.ts'
import { defineSpawner } from '../../packages/core/spawner.ts'
import { accepted, dummy, load, problems, refuses } from '../support/load-config.ts'

describe('a config', () => {
  test('gets every default', async () => {
    const { hub, proxy, authenticator, spawner } = await accepted({ authenticator: dummy })
    assert.equal(hub.bindUrl.href, 'http://127.0.0.1:8000/')
    assert.equal(hub.hubBindUrl.href, 'http://127.0.0.1:8081/')
    assert.equal(hub.baseUrl, '/')
    assert.equal(hub.oauthTokenExpiresIn, 14 * 24 * 3600)
    assert.deepEqual([hub.cleanupServers, hub.cleanupProxy], [false, false])
    assert.equal(proxy.driver.name, 'configurable-http-proxy')
    assert.equal(authenticator.base.usernamePattern, null)
    assert.equal(spawner.driver.name, 'local')
    assert.equal(spawner.base.startTimeout, 60)
  })

  test("keeps a driver's options apart, decoded by the driver's own schema", async () => {
    const { spawner, authenticator } = await accepted({
      authenticator: dummy,
      spawner: { driver: 'simple', port: 9999, startTimeout: 5 },
    })
    assert.equal(spawner.options['port'], 9999)
    assert.equal(spawner.options['interruptTimeout'], 30)
    assert.equal('startTimeout' in spawner.options, false)
    assert.equal(spawner.base.startTimeout, 5)
    assert.deepEqual(authenticator.options, { password: 'x' })
  })

  test('takes the base url from the path of bindUrl', async () => {
    const { hub } = await accepted({
      hub: { bindUrl: 'http://127.0.0.1:8000/jhub' },
      authenticator: dummy,
    })
    assert.deepEqual([hub.baseUrl, hub.bindUrl.href], ['/jhub/', 'http://127.0.0.1:8000/'])
  })

  test('gives slashes to the base url, and the base url to publicUrl', async () => {
    const { hub } = await accepted({
      hub: { baseUrl: 'jhub', publicUrl: 'jupyter.example.org' },
      authenticator: { ...dummy, allowInsecureTestAuthenticator: true },
    })
    assert.equal(hub.baseUrl, '/jhub/')
    assert.equal(hub.publicUrl?.href, 'https://jupyter.example.org/jhub/')
  })

  test('resolves paths from its own folder', async () => {
    const { hub } = await accepted({
      hub: { templatePaths: ['templates', '/srv/t'], dataDir: '../state' },
      authenticator: dummy,
    })
    assert.deepEqual(hub.templatePaths, ['/etc/portico/templates', '/srv/t'])
    assert.equal(hub.dataDir, '/etc/state')
  })

  test('takes the pattern of user names for the whole name', async () => {
    const { authenticator } = await accepted({
      authenticator: { ...dummy, usernamePattern: 'a|ab' },
    })
    const pattern = authenticator.base.usernamePattern
    assert.deepEqual(
      [pattern?.test('ab'), pattern?.test('xab'), pattern?.test('abx')],
      [true, false, false],
    )
  })

  test('lets in users of the database when somebody is allowed by name, unless told otherwise', async () => {
    const named = await accepted({ authenticator: dummy })
    const told = await accepted({ authenticator: { ...dummy, allowExistingUsers: false } })
    const all = await accepted({ authenticator: { driver: 'dummy', allowAll: true } })
    const existing = [named, told, all].map(
      (config) => config.authenticator.base.allowExistingUsers,
    )
    assert.deepEqual(existing, [true, false, false])
  })

  test('lets the test authenticator admit everybody when nobody is named', async () => {
    const open = await accepted({ authenticator: { driver: 'dummy' } })
    const closed = await accepted({ authenticator: dummy })
    assert.deepEqual(
      [open, closed].map((config) => config.authenticator.base.allowAll),
      [true, false],
    )
  })

  test('accepts hooks and functions for variables', async () => {
    const { spawner, authenticator } = await accepted(
      defineConfig({
        authenticator: { ...dummy, postAuthHook: (identity) => identity },
        spawner: {
          environment: { A: 'a', B: ({ userName }) => userName },
          preSpawnHook: async () => {},
        },
      }),
    )
    assert.equal(typeof authenticator.base.postAuthHook, 'function')
    assert.equal(typeof spawner.base.preSpawnHook, 'function')
    const { B } = spawner.base.environment
    const request = { userName: 'ada', serverName: '', userOptions: null, environment: {} }
    assert.equal(typeof B === 'function' && B(request), 'ada')
  })
})

describe('a driver', () => {
  const mine = defineSpawner({
    name: 'mine',
    config: z.strictObject({ flavour: z.string() }),
    create: () => assert.fail('not needed'),
  })

  test('may be an object', async () => {
    const { spawner } = await accepted({
      authenticator: dummy,
      spawner: { driver: mine, flavour: 'sour' },
    })
    assert.equal(spawner.driver, mine)
    assert.deepEqual(spawner.options, { flavour: 'sour' })
  })

  test('may be a module', async () => {
    const importModule = async (path: string) => ({ mine, other: path })
    const input = { authenticator: dummy, spawner: { driver: './mine.ts', flavour: 'sour' } }
    const { spawner } = await accepted(input, { importModule })
    assert.equal(spawner.driver, mine)
  })

  test('is refused when its module exports none, or cannot be loaded', async () => {
    const input = { authenticator: dummy, spawner: { driver: './mine.ts' } }
    const none = await problems(input, { importModule: async () => ({ a: 1 }) })
    assert.match(none.join(), /spawner\.driver: '\.\/mine\.ts' must export exactly one driver/)
    const broken = () => Promise.reject(new Error('no such file'))
    assert.match((await problems(input, { importModule: broken })).join(), /no such file/)
  })

  test('has its own options checked as strictly as the rest', async () => {
    const input = { authenticator: dummy, spawner: { driver: mine, flavor: 'sour', flavour: 1 } }
    await refuses(input, /spawner\.flavour: must be a string/, /spawner\.flavor: .*'flavour'\?/)
  })

  test('with an unknown name is refused with the nearest one', async () => {
    await refuses(
      { authenticator: { driver: 'dumy' }, spawner: { driver: 'kubernetes' } },
      /authenticator\.driver: names no driver 'dumy': did you mean 'dummy'\?/,
      /spawner\.driver: names no driver 'kubernetes': there are local, simple/,
    )
  })

  test('of the authenticator must be chosen', async () => {
    await refuses({}, /authenticator\.driver: is required: choose one of dummy/)
  })
})

describe('problems', () => {
  test('are all found at once, each with file, path and remedy', async () => {
    await refuses(
      {
        hub: {
          bindUrl: 'nonsense',
          apiPageMaxLimit: '200',
          logLevel: 'loud',
          adminUsers: ['', 'ok'],
        },
        authenticator: { driver: 'dummy', usernamePattern: '(' },
        spawner: { pollJitter: 3, environment: { 'A B': 'x', C: 1 }, nonsense: true },
        extra: {},
      },
      /^portico\.config\.ts: hub\.bindUrl: is not a url/,
      /hub\.apiPageMaxLimit: must be a number/,
      /hub\.logLevel: /,
      /hub\.adminUsers\[0\]: is no user name/,
      /authenticator\.usernamePattern: Invalid regular expression/,
      /spawner\.pollJitter: /,
      /spawner\.environment\.A B: is no name of an environment variable/,
      /spawner\.environment\.C: /,
      /spawner\.nonsense: is unknown, or not available yet/,
      /extra: is unknown: the sections are hub, proxy, authenticator, spawner/,
    )
  })

  for (const [section, wrong, right] of [
    ['authenticator', 'allowed_users', 'allowedUsers'],
    ['authenticator', 'allow_all', 'allowAll'],
    ['authenticator', 'alowAll', 'allowAll'],
    ['authenticator', 'allow-all', 'allowAll'],
    ['authenticator', 'whitelist', 'allowedUsers'],
    ['hub', 'allowed_users', 'authenticator.allowedUsers'],
    ['hub', 'bindURL', 'bindUrl'],
    ['hub', 'authenticator_class', 'authenticator.driver'],
    ['hub', 'spawner_class', 'spawner.driver'],
    ['hub', 'db_url', 'hub.dataDir'],
    ['hub', 'start_timeout', 'spawner.startTimeout'],
    ['spawner', 'env', 'environment'],
    ['spawner', 'Spawner', null],
    ['proxy', 'should_start', 'shouldStart'],
  ] as const) {
    test(`${section}.${wrong} is answered with ${right ?? 'no guess'}`, async () => {
      const input: Record<string, unknown> = { authenticator: dummy }
      input[section] = { ...(section === 'authenticator' ? dummy : {}), [wrong]: [] }
      const [problem = '', ...others] = await problems(input)
      assert.deepEqual(others, [])
      if (right === null) assert.match(problem, /docs\/options\.md/)
      else assert.ok(problem.endsWith(`: did you mean '${right}'?`), problem)
    })
  }

  test('name the driver that an option belongs to', async () => {
    await refuses(
      { authenticator: dummy, spawner: { driver: 'local', allowRoot: true } },
      /spawner\.allowRoot: is an option of the driver 'simple'/,
    )
  })

  test('name the command line when it is to blame', async () => {
    const found = await problems(
      { authenticator: dummy },
      { overrides: { hub: { logLevel: 'loud' } } },
    )
    assert.equal(found.length, 1)
    assert.match(found[0] ?? '', /^command line: hub\.logLevel: /)
  })

  for (const input of [null, 42, 'x', [], undefined]) {
    test(`are found in ${JSON.stringify(input) ?? 'undefined'}, which is no config`, async () => {
      assert.match((await problems(input)).join('\n'), /must export an object/)
    })
  }

  test('include sections that are no objects', async () => {
    await refuses({ authenticator: dummy, hub: [] }, /hub: must be an object/)
  })

  test('do not come from prototypes', async () => {
    const input = JSON.parse('{"authenticator":{"driver":"dummy"},"hub":{"__proto__":{"x":1}}}')
    await refuses(input, /hub\.__proto__: is unknown/)
  })
})

describe('a url', () => {
  for (const [url, message] of [
    ['http://:8000', /0\.0\.0\.0:8000/],
    ['ftp://127.0.0.1', /must begin with http/],
    ['http://u:p@127.0.0.1:8000', /user name or password/],
    ['http://127.0.0.1:8000/?a', /query/],
    ['https://127.0.0.1:8000', /a front end does/],
    ['', /is not a url/],
    [8000, /must be a string/],
  ] as const) {
    test(`${url} is refused for bindUrl`, async () => {
      await refuses({ hub: { bindUrl: url }, authenticator: dummy }, message)
    })
  }

  for (const baseUrl of ['/a/../b', '/a b/', '/ü/', '/a?b', '/%2e%2e/']) {
    test(`${baseUrl} is refused for baseUrl`, async () => {
      await refuses({ hub: { baseUrl }, authenticator: dummy }, /hub\.baseUrl: /)
    })
  }
})

test('the origin of every option is known', async () => {
  const loaded = await load(
    { hub: { logLevel: 'warn', adminUsers: [] }, authenticator: dummy },
    { overrides: { hub: { logLevel: 'debug' } } },
  )
  if ('problems' in loaded) assert.fail('refused')
  const { origins } = loaded
  assert.equal(origins.get('hub.logLevel'), 'command line')
  assert.equal(origins.get('hub.adminUsers'), 'file')
  assert.equal(origins.get('hub.bindUrl'), 'default')
  assert.equal(origins.get('authenticator.password'), 'file')
  assert.equal(origins.get('spawner.interruptTimeout'), 'default')
  assert.equal(loaded.config.hub.logLevel, 'debug')
})

describe('a quick start', () => {
  test('is for the account that starts it, on this machine, and leaves nothing behind', async () => {
    const config = await accepted(quickStartConfig({ userName: 'Ada', isRoot: false }))
    assert.equal(config.hub.bindUrl.hostname, '127.0.0.1')
    assert.deepEqual([config.hub.cleanupServers, config.hub.cleanupProxy], [true, true])
    assert.deepEqual(config.authenticator.base.allowedUsers, ['ada'])
    assert.equal(config.authenticator.base.allowExistingUsers, false)
    assert.deepEqual(config.authenticator.options, { userName: 'ada' })
    assert.equal(config.spawner.options['allowRoot'], false)
  })

  test('allows servers of root to root alone', async () => {
    const config = await accepted(quickStartConfig({ userName: 'root', isRoot: true }))
    assert.equal(config.spawner.options['allowRoot'], true)
  })
})
