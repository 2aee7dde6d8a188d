import assert from 'node:assert/strict'
import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { it } from 'node:test'
import { singleUser, startTestHub } from '../support/start-hub.ts'
import { createTestAccount } from '../support/test-account.ts'
import { until } from '../support/until.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root: services run as another account'

it(
  'a managed service runs as the account that it names, and never as root unnoticed',
  { skip },
  async (t) => {
    const account = createTestAccount('portico-service')
    t.after(() => account.remove())
    await using test = await startTestHub({
      config: {
        services: [
          { name: 'humble', command: ['sleep', '1000'], user: account.name },
          { name: 'proud', command: singleUser('--never-listen') },
          { name: 'lost', command: ['sleep', '1000'], user: 'portico-nobody-at-all' },
        ],
      },
    })
    const running = (name: string): Promise<number> =>
      until(`${name} runs`, async () => (await test.operator.service(name)).pid)

    const pid = await running('humble')
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.equal(statSync(`/proc/${pid}`).uid, account.uid)
    assert.match(status, new RegExp(`^Gid:(\\t${account.gid}){4}$`, 'm'))
    assert.match(status, new RegExp(`^Groups:.*\\b${account.extraGroup}\\b`, 'm'))
    assert.match(status, /^NoNewPrivs:\t1$/m)
    assert.match(status, /^CapEff:\t0+$/m)
    assert.equal(readlinkSync(`/proc/${pid}/cwd`), account.home)
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    for (const line of [
      `HOME=${account.home}`,
      `USER=${account.name}`,
      `JUPYTERHUB_USER=${account.name}`,
    ])
      assert.ok(environment.includes(line), line)

    await running('proud')
    const log = (): string => test.logLines.join('\n')
    assert.match(log(), /service proud runs as root/)
    assert.doesNotMatch(log(), /service humble runs as root/)
    await until('the lost one is logged', () =>
      /service lost .*no account named portico-nobody-at-all/.test(log()),
    )
    assert.equal((await test.operator.service('lost')).pid, 0)
  },
)
