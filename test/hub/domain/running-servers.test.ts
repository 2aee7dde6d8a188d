import assert from 'node:assert/strict'
import { it } from 'node:test'
import { RunningServers } from '../../../hub/domain/running-servers.ts'
import type { ServerRun } from '../../../hub/domain/server-run.ts'

const run = (userId: number, name: string, prefix: string) =>
  ({ row: { userId, name }, prefix }) as ServerRun

it('running servers are found by owner, name and the path they live at', () => {
  const [ada, lab, adam] = [
    run(1, '', '/jhub/user/ada/'),
    run(1, 'lab', '/jhub/user/ada/lab/'),
    run(2, '', '/jhub/user/adam/'),
  ]
  const servers = new RunningServers()
  for (const one of [ada, lab, adam]) servers.add(one)
  assert.equal(servers.size, 3)
  assert.deepEqual(servers.of(1), [ada, lab])
  assert.equal(servers.named(1, 'lab'), lab)
  for (const [path, found] of [
    ['/jhub/user/ada/', ada],
    ['/jhub/user/ada/labels/x?next=/jhub/user/adam/', ada],
    ['/jhub/user/ada/lab/tree/a/b', lab],
    ['/jhub/user/adam/lab/', adam],
    ['/jhub/user/ada', null],
    ['/jhub/user/bob/', null],
    ['', null],
    ['/', null],
  ] as const)
    assert.equal(servers.at(path), found, path)
  servers.remove(lab)
  assert.equal(servers.at('/jhub/user/ada/lab/x'), ada, 'a page of the default server')
  assert.deepEqual([...servers], [ada, adam])
  const started = performance.now()
  for (let round = 0; round < 100; round += 1) servers.at(`/${'/'.repeat(15_000)}${round}`)
  const ms = performance.now() - started
  assert.ok(ms < 1_500, `a path of slashes took ${ms / 100} ms`)
})
