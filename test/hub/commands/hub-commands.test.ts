import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ClientError } from '../../../packages/client/index.ts'
import { UsageError } from '../../../hub/commands/command.ts'
import { type CommandRun, type CommandWorld, runCommand } from '../../support/command-run.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

let hub: TestHub

before(async () => {
  hub = await startTestHub({ config: { authenticator: { allowAll: true } } })
})
after(() => hub[Symbol.asyncDispose]())

const run = (line: string, world: Partial<CommandWorld> = {}): Promise<CommandRun> =>
  runCommand(`${line} --data-dir ${hub.dataDir}`, { cwd: hub.dataDir, ...world })

const json = async <Value>(line: string, world?: Partial<CommandWorld>): Promise<Value> =>
  JSON.parse((await run(`${line} --json`, world)).out.join('\n')) as Value

describe('users', { timeout: 60_000 }, () => {
  test('are made, listed, shown, renamed and deleted', async () => {
    assert.deepEqual((await run('users create ada grace')).out, ['ada', 'grace'])
    assert.deepEqual(
      (await run('users list')).out.map((line) => line.split(/ {2,}/)[0]),
      ['NAME', 'ada', 'grace'],
    )
    assert.deepEqual((await run('users rename grace hopper')).out, ['grace is hopper now'])
    assert.match((await run('users show hopper')).out.join('\n'), /^Name: +hopper\nAdmin: +no\n/)
    assert.deepEqual((await run('users delete hopper')).out, ['hopper is deleted'])
    const users = await json<{ name: string }[]>('users list --name a')
    assert.deepEqual(
      users.map(({ name }) => name),
      ['ada'],
    )
  })

  test('come from standard input in batches, those that exist are counted', async () => {
    const names = Array.from({ length: 250 }, (_, index) => `many${index}`)
    const input = `ada\n\n${names.join('\n')}\n  many7 \n`
    const created = await run('users create -', { input })
    assert.equal(created.status, 0)
    assert.deepEqual(created.out, names)
    assert.deepEqual(created.err, ['portico: 1 of 251 users existed already'])
    const again = await run('users create -', { input })
    assert.deepEqual([again.status, again.out], [1, []])
  })

  test('a name that is refused is one line, and does not keep the other batches', async () => {
    const names = Array.from({ length: 150 }, (_, index) => `more${index}`)
    const input = ['a/b', ...names].join('\n')
    const created = await run('users create -', { input })
    assert.equal(created.status, 1)
    assert.deepEqual(created.out, names.slice(99))
    assert.deepEqual(created.err, ['portico: a/b to more98: Invalid usernames: a/b'])
  })

  test('of several names each one that fails is told', async () => {
    await run('users create left1 left2')
    const { status, out, err } = await run('users delete left1 nobody left2')
    assert.equal(status, 1)
    assert.deepEqual(out, ['left1 is deleted', 'left2 is deleted'])
    assert.match(err.join('\n'), /^portico: nobody: /)
  })

  test('one that is not there is an error with the words of the hub', async () => {
    await assert.rejects(run('users show nobody'), (error) => {
      assert.ok(error instanceof ClientError)
      assert.equal(error.status, 404)
      return true
    })
  })

  test('choices and empty input are checked before anything is sent', async () => {
    await assert.rejects(run('users list --state asleep'), UsageError)
    await assert.rejects(run('users create -', { input: '\n\n' }), UsageError)
  })
})

describe('servers', { timeout: 120_000 }, () => {
  test('start with what happens, are listed and stop', async () => {
    await run('users create starter')
    const started = await run('servers start starter --wait')
    assert.equal(started.status, 0)
    assert.equal(started.out.at(-1), 'starter runs')
    const listed = await run('servers list')
    assert.match(listed.out.join('\n'), /^SERVER .*\nstarter +running .*\/user\/starter\//)
    assert.match((await run('servers show starter')).out.join('\n'), /State: +running/)
    assert.deepEqual((await run('servers stop starter --wait')).out, ['starter is stopped'])
    const stopped = await json<{ state?: string; server: string }[]>('servers stop starter')
    assert.deepEqual(stopped, [{ server: 'starter', state: 'stopped' }])
  })
})

describe('tokens', { timeout: 60_000 }, () => {
  test('show their secret once, are listed with their notes, and are revoked', async () => {
    await run('users create owner')
    const made = await run(
      'tokens create owner --note backup --expires-in 2h --scope read:users!user',
    )
    const [secret = ''] = made.out
    assert.ok(secret.length >= 32, secret)
    const [token] =
      await json<{ id: string; note: string; expires_at: string }[]>('tokens list owner')
    assert.equal(token?.note, 'backup')
    const left = Date.parse(token?.expires_at ?? '') - Date.now()
    assert.ok(left > 7_000_000 && left <= 7_200_000, String(left))
    assert.ok(!(await run('tokens list owner')).out.join().includes(secret))
    assert.deepEqual((await run(`tokens revoke owner ${token?.id}`)).out, [
      `${token?.id} is revoked`,
    ])
    assert.deepEqual(await json('tokens list owner'), [])
  })

  test('a duration that is none is a wrong command line', async () => {
    await assert.rejects(run('tokens create owner --expires-in soon'), UsageError)
  })
})

describe('groups', { timeout: 60_000 }, () => {
  test('are made, filled, given properties, and deleted', async () => {
    await run('users create member1 member2')
    assert.equal((await run('groups create physics --user member1')).status, 0)
    assert.match((await run('groups add physics member2')).out.join('\n'), /member1, member2/)
    assert.match((await run('groups remove physics member1')).out.join('\n'), /Users: +member2\n/)
    await run('groups set-properties physics -', { input: '{"cpu": 2}' })
    const group = await json<{ properties: object }>('groups show physics')
    assert.deepEqual(group.properties, { cpu: 2 })
    assert.match((await run('groups list')).out.join('\n'), /physics +1/)
    assert.deepEqual((await run('groups delete physics')).out, ['physics is deleted'])
  })
})

describe('shares', { timeout: 60_000 }, () => {
  test('are granted, listed from both sides, and taken back', async () => {
    await run('users create sharer reader')
    await hub.operator.startServer('sharer')
    await run('shares grant sharer --user reader')
    assert.match((await run('shares list sharer')).out.join('\n'), /sharer +reader +access:servers/)
    assert.match((await run('shares received --user reader')).out.join('\n'), /sharer +reader/)
    assert.deepEqual((await run('shares revoke sharer --user reader')).out, [
      'sharer is not shared any more',
    ])
    assert.match((await run('shares create-code sharer')).out.join(), /accept-share\?code=/)
    const codes = await json<{ id: string }[]>('shares codes sharer')
    assert.equal(codes.length, 1)
    await run(`shares delete-code sharer ${codes[0]?.id}`)
    assert.deepEqual(await json('shares codes sharer'), [])
  })

  test('need to know with whom', async () => {
    await assert.rejects(run('shares grant sharer'), UsageError)
    await assert.rejects(run('shares grant sharer --user a --group b'), UsageError)
  })
})

describe('services', { timeout: 60_000 }, () => {
  test('are registered with their token, shown, and deleted', async () => {
    const token = 'a-token-of-a-service-of-this-test'
    await run('services create culler --token-stdin --admin', { input: `${token}\n` })
    assert.match((await run('services list')).out.join('\n'), /culler +yes/)
    assert.equal((await json<{ admin: boolean }>('services show culler')).admin, true)
    assert.deepEqual((await run('services delete culler')).out, ['culler is deleted'])
  })
})
