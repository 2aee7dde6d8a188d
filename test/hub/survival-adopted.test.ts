import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Browser } from '../support/browser.ts'
import { startTestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

it('an adopted server that dies is noticed by the next request to it', async () => {
  const first = await startTestHub({ config: { spawner: { pollInterval: 0 } } })
  const ada = new Browser(first.origin)
  await ada.logIn('/', 'ada')
  await ada.visit('/hub/spawn')
  await until('it runs', async () => (await ada.visit('/user/ada/')).status === 200, 60_000)
  const { pid } = JSON.parse((await ada.get('/user/ada/')).text) as { pid: number }

  await using second = await first.restart()
  process.kill(pid, 'SIGKILL')
  await until(
    'the hub knows',
    async () => {
      await ada.get('/user/ada/')
      return (await second.operator.server('ada')).stopped
    },
    60_000,
  )
  assert.equal((await ada.visit('/user/ada/')).status, 424)
})
