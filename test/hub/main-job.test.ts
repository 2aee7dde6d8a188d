import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { programPath } from '../../packages/process/index.ts'
import { Browser } from '../support/browser.ts'
import { startTestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const embedded = programPath('packages/singleuser/main')

for (const baseUrl of ['/', '/jhub/', '/@/space%20word/'])
  describe(`the main job under ${baseUrl}`, () => {
    it('goes from login to a working server and ends at logout', async () => {
      await using test = await startTestHub({ baseUrl, cmd: [...embedded, '--allow-root'] })
      const ada = new Browser(test.origin)

      const first = await ada.visit(`${baseUrl}user/ada/`)
      assert.equal(first.url.pathname, `${baseUrl}hub/login`)

      const login = await ada.logIn(baseUrl, 'Ada')
      assert.equal(login.headers.get('location'), `${baseUrl}hub/spawn`)
      await ada.visit(`${baseUrl}hub/spawn`)
      const server = await until(
        'the server is up',
        async () => {
          const page = await ada.visit(`${baseUrl}hub/spawn-pending/ada`)
          return page.url.pathname.startsWith(`${baseUrl}user/ada/`) && page.status === 200 && page
        },
        60_000,
      )
      assert.match(server.text, /ada/)
      const contents = await ada.get(`${baseUrl}user/ada/api/contents/`, {
        Accept: 'application/json',
      })
      assert.equal(contents.status, 200)

      const bob = new Browser(test.origin)
      await bob.logIn(baseUrl, 'bob')
      const refused = await bob.visit(`${baseUrl}user/ada/`)
      assert.equal(refused.status, 403)

      await ada.get(`${baseUrl}hub/logout`)
      await until(
        'the server refuses the old session',
        async () => {
          const page = await ada.get(`${baseUrl}user/ada/api/contents/`, {
            Accept: 'application/json',
          })
          return page.status !== 200
        },
        60_000,
      )
    })
  })
