import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { it, type TestContext } from 'node:test'
import { testAuthority } from '../support/certificates.ts'
import { temporaryFolder } from '../support/folder.ts'
import {
  claimsOf,
  issuer,
  type LtiPlatform,
  startPlatform,
  tokenOf,
} from '../support/lti-platform.ts'
import { freePorts, startTestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'
import { Chromium, skipWithoutChromium as skip } from './chromium.ts'

/** Two sites with https on one port: the hub behind its front end, and the platform with a course. */
async function startSites(t: TestContext) {
  const [port = 0] = await freePorts(1)
  const [hub, platform] = [`https://hub.test:${port}`, `https://platform.test:${port}`]
  const keys = await startPlatform(t)
  const test = await startTestHub({
    config: {
      hub: { publicUrl: `${hub}/` },
      authenticator: {
        driver: 'lti13',
        ...keys.options,
        authorizeUrl: `${platform}/authorize`,
        allowAll: true,
      },
    },
  })
  t.after(() => test[Symbol.asyncDispose]())
  const { key, cert } = testAuthority(temporaryFolder(t)).issue('sites')
  const files = { key: readFileSync(key), cert: readFileSync(cert) }
  const server = createServer(files, (req, res) => {
    if (req.headers.host === new URL(hub).host) return forward(test.origin, req, res)
    const { pathname, searchParams } = new URL(req.url ?? '/', platform)
    const body =
      pathname === '/authorize' ? answerPage(keys, searchParams) : coursePage(hub, pathname)
    res.setHeader('Content-Type', 'text/html').end(body)
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { hub, platform, test }
}

function forward(origin: string, req: IncomingMessage, res: ServerResponse): void {
  const { method } = req
  const headers = { ...req.headers, 'x-forwarded-proto': 'https' }
  const passed = request(new URL(req.url ?? '/', origin), { method, headers }, (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(res)
  })
  passed.on('error', () => res.destroy())
  req.pipe(passed)
}

/** A course from which the hub is opened by a link, by a form, or in a frame. */
function coursePage(hub: string, path: string): string {
  const query = `iss=${encodeURIComponent(issuer)}&login_hint=h&client_id=hub&next=%2Fhub%2Fhome`
  if (path === '/frame') return `<iframe src="${hub}/hub/oauth_login?${query}"></iframe>`
  const fields = { iss: issuer, login_hint: 'h', target_link_uri: `${hub}/hub/home` }
  const inputs = Object.entries(fields).map(
    ([name, value]) => `<input type="hidden" name="${name}" value="${value}">`,
  )
  return `<a id="link" href="${hub}/hub/oauth_login?${query}">Hub</a>
    <a id="anywhere" href="${hub}/hub/oauth_login?${query.replace(/&next=.*/, '')}">Hub</a>
    <form method="post" action="${hub}/hub/oauth_login">${inputs.join('')}<button id="post">Hub</button></form>`
}

/** What the platform answers somebody who is logged in there: a form that sends itself to the hub. */
function answerPage(keys: LtiPlatform, asked: URLSearchParams): string {
  const token = tokenOf(keys, claimsOf(asked.get('nonce')))
  return `<form method="post" action="${asked.get('redirect_uri')}">
    <input name="id_token" value="${token}"><input name="state" value="${asked.get('state')}">
    </form><script>document.forms[0].submit()</script>`
}

it(
  'people come from a course by a link and by a form, straight to their server where nothing else is asked for, and not in a frame',
  { skip, timeout: 120_000 },
  async (t) => {
    const { hub, platform, test } = await startSites(t)
    await using chromium = await Chromium.launch(
      '--ignore-certificate-errors',
      '--host-resolver-rules=MAP hub.test 127.0.0.1,MAP platform.test 127.0.0.1',
    )
    for (const way of ['#link', '#post']) {
      const page = await chromium.visitor()
      await page.goto(`${platform}/`)
      await page.click(way)
      await page.waitForURL(`${hub}/hub/home`)
      assert.match((await page.textContent('h1')) ?? '', /zoe@platform\.test/)
      const cookies = await page.context().cookies(`${hub}/hub/`)
      const attempt = cookies.find(({ name }) => name === 'portico-login-attempt')
      assert.deepEqual(
        [attempt?.sameSite, attempt?.secure, attempt?.httpOnly],
        ['None', true, true],
      )
      const login = cookies.find(({ name }) => name === 'jupyterhub-hub-login')
      assert.deepEqual([login?.sameSite, login?.secure, login?.httpOnly], ['Lax', true, true])
    }

    const direct = await chromium.visitor()
    await direct.goto(`${platform}/`)
    await direct.click('#anywhere')
    await direct.waitForURL(`${hub}/user/**`)

    const framed = await chromium.visitor()
    await framed.goto(`${platform}/frame`)
    await until(
      'it has come back',
      () => {
        const back = test.logLines.filter((line) => line.includes(' POST /hub/oauth_callback'))
        return back.length === 4
      },
      30_000,
    )
    await framed.goto(`${hub}/hub/home`)
    assert.equal(new URL(framed.url()).pathname, '/hub/login')
    assert.ok(test.logLines.every((line) => !line.includes('eyJ')))
  },
)
