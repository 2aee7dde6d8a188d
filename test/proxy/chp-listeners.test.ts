import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { testAuthority } from '../support/certificates.ts'
import { temporaryFolder } from '../support/folder.ts'
import { ask } from './ask.ts'
import {
  type ProgramName,
  type StartOptions,
  freePorts,
  programs,
  startProgram,
} from './programs.ts'
import { type Echoed, echo, httpTarget, token } from './support.ts'

/** Where configurable-http-proxy listens, and how: against it and against ours. */
for (const name of Object.keys(programs) as ProgramName[]) {
  describe(`${name} listens as configurable-http-proxy's tests ask for`, { concurrency: 2 }, () => {
    it('serves https with a passphrase, and redirects to it', async (t) => {
      const folder = temporaryFolder(t)
      const authority = testAuthority(folder)
      const { key, cert } = authority.issue('public', { passphrase: 'secret words' })
      await using target = await httpTarget()
      const env = { CONFIGPROXY_SSL_KEY_PASSPHRASE: 'secret words' }
      const flags = ['--ssl-key', key, '--ssl-cert', cert, '--default-target', target.url]
      const [redirectPort = 0] = await freePorts(1)
      const options: StartOptions = {
        flags: [...flags, '--redirect-port', String(redirectPort), '--redirect-to', '8443'],
        env,
        schemes: ['https', 'http'],
      }
      const proxy = await startProgram(t, name, options)
      const ca = readFileSync(authority.ca)
      const { headers } = JSON.parse((await ask(proxy.url, { ca })).text) as Echoed
      assert.equal(headers['x-forwarded-proto'], 'https')
      const moved = await ask(`http://127.0.0.1:${redirectPort}/a?b`, {
        headers: { host: 'hub.test:80' },
      })
      assert.equal(moved.status, 301)
      assert.equal(moved.headers.location, 'https://hub.test:8443/a?b')
      const socket = new WebSocket(`${proxy.url.replace('https', 'wss')}/`, { ca })
      const [error] = (await once(socket, 'error')) as [Error]
      assert.match(error.message, /200/)
    })

    it('encrypts its API and its way to targets with mutual TLS', async (t) => {
      const folder = temporaryFolder(t)
      const authority = testAuthority(folder)
      const [api, client, target] = ['api', 'client', 'target'].map((each) => authority.issue(each))
      const { ca } = authority
      const secure = createHttpsServer(
        { key: read(target?.key), cert: read(target?.cert), ca: read(ca), requestCert: true },
        echo,
      )
      t.after(() => secure.close())
      await once(secure.listen(0, '127.0.0.1'), 'listening')
      const { port } = secure.address() as { port: number }
      const side = (prefix: string, pair: typeof api) => {
        const files = { key: pair?.key, cert: pair?.cert, ca }
        const named = Object.entries(files).flatMap(([file, path]) => [
          `--${prefix}-ssl-${file}`,
          `${path}`,
        ])
        return [...named, `--${prefix}-ssl-request-cert`, `--${prefix}-ssl-reject-unauthorized`]
      }
      const flags = [
        ...side('api', api),
        ...side('client', client),
        '--default-target',
        `https://127.0.0.1:${port}`,
      ]
      const proxy = await startProgram(t, name, { flags, schemes: ['http', 'https'] })
      const headers = { authorization: `token ${token}` }
      const url = `${proxy.apiUrl}/api/routes`
      const shown = { ca: read(ca), key: read(client?.key), cert: read(client?.cert) }
      assert.equal((await ask(url, { headers, ...shown })).status, 200)
      await assert.rejects(ask(url, { headers, ca: read(ca) }))
      assert.equal((await ask(`${proxy.url}/x`)).status, 200)
    })

    it('lives on unix sockets altogether', async (t) => {
      const folder = temporaryFolder(t)
      const [socketPath, apiSocket, metrics, back] = ['p', 'a', 'm', 'b'].map((each) =>
        join(folder, each),
      )
      const server = createHttpServer((request, response) => void response.end(request.url))
      new WebSocketServer({ server }).on('connection', (socket) => socket.send('hello'))
      t.after(() => server.close())
      await once(server.listen(back), 'listening')
      const target = `http+unix://${encodeURIComponent(back ?? '')}`
      const flags = ['--socket', `${socketPath}`, '--api-socket', `${apiSocket}`]
      await startProgram(t, name, {
        flags: [...flags, '--metrics-socket', `${metrics}`],
        withPorts: false,
      })
      const headers = { authorization: `token ${token}` }
      const added = await ask('http://localhost/api/routes/u', {
        socketPath: apiSocket,
        method: 'POST',
        headers,
        body: JSON.stringify({ target }),
      })
      assert.equal(added.status, 201)
      const options = { socketPath }
      assert.equal((await ask('http://localhost/u/x', options)).text, '/u/x')
      const socket = new WebSocket(`ws+unix://${socketPath}:/u/`)
      const [data] = (await once(socket, 'message')) as [Buffer]
      assert.equal(data.toString(), 'hello')
      socket.close()
      const numbers = await ask('http://localhost/metrics', { socketPath: metrics })
      assert.match(numbers.text, /^requests_web 1$/m)
    })

    it('counts under the names of its metrics', async (t) => {
      await using target = await httpTarget()
      const [metricsPort = 0] = await freePorts(1)
      const proxy = await startProgram(t, name, {
        flags: ['--metrics-ip', '127.0.0.1', '--metrics-port', `${metricsPort}`],
      })
      await proxy.route('/a', target.url)
      await proxy.api('GET', '/api/routes')
      await proxy.api('DELETE', '/api/routes/none')
      await ask(`${proxy.url}/a`)
      await ask(`${proxy.url}/none`)
      const metrics = await ask(`http://127.0.0.1:${metricsPort}/metrics`)
      assert.match(metrics.headers['content-type'] ?? '', /^text\/plain/)
      for (const line of [
        'api_route_get 1',
        'api_route_add 1',
        'api_route_delete 1',
        'requests_ws 0',
        'requests_web 2',
        'requests_proxy{status="200"} 1',
        'requests_proxy{status="404"} 1',
        'requests_api{status="201"} 1',
        'find_target_for_req_count 2',
      ]) {
        assert.ok(metrics.text.split('\n').includes(line), `${line} in\n${metrics.text}`)
      }
      assert.match(metrics.text, /^last_activity_updating_count \d/m)
      assert.match(metrics.text, /^process_resident_memory_bytes \d/m)
      assert.equal((await ask(`http://127.0.0.1:${metricsPort}/`)).status, 404)
    })
  })
}

function read(file: string | undefined): Buffer {
  return readFileSync(file ?? '')
}
