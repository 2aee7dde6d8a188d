import assert from 'node:assert/strict'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { HubStandIn, startSingleUserProgram } from '../support/hub-stand-in.ts'
import { until } from '../support/until.ts'

describe('files of the single-user server', () => {
  let base: string
  let root: string
  let hub: HubStandIn
  let server: Awaited<ReturnType<typeof startSingleUserProgram>>
  let authorization: string

  before(async () => {
    base = await fs.mkdtemp(join(tmpdir(), 'portico-files-'))
    root = join(base, 'home')
    await fs.mkdir(root)
    hub = await HubStandIn.start()
    server = await startSingleUserProgram(hub, 'ada', root)
    authorization = `token ${hub.issueToken('ada', ['access:servers'])}`
  })

  beforeEach(async () => {
    for (const name of await fs.readdir(base)) {
      if (name !== 'home') await fs.rm(join(base, name), { recursive: true })
    }
    for (const name of await fs.readdir(root)) await fs.rm(join(root, name), { recursive: true })
    await fs.writeFile(join(base, 'secret.txt'), 'outside')
    await fs.mkdir(join(base, 'home-of-another'))
    await fs.writeFile(join(base, 'home-of-another', 'x.txt'), 'outside')
  })

  after(async () => {
    await server[Symbol.asyncDispose]()
    await hub[Symbol.asyncDispose]()
    await fs.rm(base, { recursive: true, force: true })
  })

  async function call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: Headers; json: Record<string, unknown> }> {
    const reply = await fetch(`http://127.0.0.1:${server.port}/user/ada/${path}`, {
      method,
      headers: { authorization, 'sec-fetch-dest': 'empty', ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await reply.text()
    const json = text.startsWith('{') ? Object(JSON.parse(text)) : { text }
    return { status: reply.status, headers: reply.headers, json }
  }

  /** Sends a path as it is: fetch would fold dot segments away. */
  async function raw(method: string, path: string): Promise<{ status: number; body: string }> {
    const options = { port: server.port, method, path, headers: { authorization } }
    const outgoing = httpRequest({ host: '127.0.0.1', ...options })
    outgoing.end(method === 'PUT' ? '{"type":"directory"}' : undefined)
    const [incoming] = await once(outgoing, 'response')
    let body = ''
    for await (const chunk of incoming) body += String(chunk)
    return { status: incoming.statusCode, body }
  }

  const read = (name: string): Promise<string> => fs.readFile(join(root, name), 'utf8')
  const text = (content: string): object => ({ type: 'file', format: 'text', content })

  it('creates, lists, reads, renames and deletes', async () => {
    assert.equal((await call('PUT', 'api/contents/notes', { type: 'directory' })).status, 201)
    assert.equal((await call('PUT', 'api/contents/notes/a%20b.txt', text('häagen'))).status, 201)
    const { json: listed } = await call('GET', 'api/contents/notes')
    const [entry] = Object(listed['content'])
    assert.deepEqual([entry.name, entry.path, entry.type], ['a b.txt', 'notes/a b.txt', 'file'])
    const { json: got } = await call('GET', 'api/contents/notes/a%20b.txt')
    assert.deepEqual([got['content'], got['format'], got['size']], ['häagen', 'text', 7])
    const renamed = await call('PATCH', 'api/contents/notes/a%20b.txt', { path: 'c.txt' })
    assert.equal(renamed.json['path'], 'c.txt')
    assert.equal(await read('c.txt'), 'häagen')
    assert.equal((await call('DELETE', 'api/contents/c.txt')).status, 204)
    assert.deepEqual(await fs.readdir(root), ['notes'])
  })

  it('names new things that were given no name', async () => {
    const names = []
    for (const type of ['file', 'file', 'directory', 'notebook']) {
      names.push((await call('POST', 'api/contents/', { type })).json['name'])
    }
    assert.deepEqual(names, ['untitled.txt', 'untitled1.txt', 'Untitled Folder', 'Untitled.ipynb'])
    const copy = await call('POST', 'api/contents/', { copy_from: 'Untitled.ipynb' })
    assert.equal(copy.json['name'], 'Untitled-Copy.ipynb')
    const notebook = await call('GET', 'api/contents/Untitled-Copy.ipynb')
    assert.deepEqual([notebook.json['type'], notebook.json['format']], ['notebook', 'json'])
  })

  it('refuses to overwrite what changed since it was read', async () => {
    const first = await call('PUT', 'api/contents/a.txt', text('one'))
    const etag = String(first.json['etag'])
    await fs.writeFile(join(root, 'a.txt'), 'by someone else')
    const stale = await call('PUT', 'api/contents/a.txt', text('two'), { 'if-match': etag })
    assert.equal(stale.status, 412)
    assert.equal(await read('a.txt'), 'by someone else')
    const current = await call('GET', 'api/contents/a.txt')
    const headers = { 'if-match': String(current.headers.get('etag')) }
    assert.equal((await call('PUT', 'api/contents/a.txt', text('two'), headers)).status, 200)
    const again = await call('PUT', 'api/contents/a.txt', text('x'), { 'if-none-match': '*' })
    assert.equal(again.status, 412)
    assert.equal(await read('a.txt'), 'two')
  })

  it('keeps the mode of a file, writes through links inside, and leaves no drafts', async () => {
    await fs.writeFile(join(root, 'run.sh'), '#!/bin/sh\n', { mode: 0o750 })
    await fs.symlink('run.sh', join(root, 'link'))
    assert.equal((await call('PUT', 'api/contents/link', text('echo'))).status, 200)
    assert.equal(await read('run.sh'), 'echo')
    assert.ok((await fs.lstat(join(root, 'link'))).isSymbolicLink())
    assert.equal((await fs.stat(join(root, 'run.sh'))).mode & 0o777, 0o750)
    assert.deepEqual((await fs.readdir(root)).toSorted(), ['link', 'run.sh'])
  })

  it('keeps bytes that are not text', async () => {
    const bytes = Buffer.from([0xff, 0xfe, 0, 1])
    await fs.writeFile(join(root, 'b.bin'), bytes)
    const { json } = await call('GET', 'api/contents/b.bin')
    assert.deepEqual([json['format'], json['content']], ['base64', bytes.toString('base64')])
    assert.equal((await call('GET', 'api/contents/b.bin?format=text')).status, 400)
    const body = { type: 'file', format: 'base64', content: bytes.toString('base64') }
    await call('PUT', 'api/contents/c.bin', body)
    assert.deepEqual(await fs.readFile(join(root, 'c.bin')), bytes)
    assert.equal((await call('PUT', 'api/contents/d', { ...body, content: '*' })).status, 400)
  })

  it('deletes a folder with content only when told to', async () => {
    await fs.mkdir(join(root, 'full/deep'), { recursive: true })
    assert.equal((await call('DELETE', 'api/contents/full')).status, 409)
    assert.equal((await call('DELETE', 'api/contents/full?recursive=1')).status, 204)
    assert.equal((await call('DELETE', 'api/contents/?recursive=1')).status, 400)
    assert.deepEqual(await fs.readdir(root), [])
  })

  it('deletes a link, never what it points to', async () => {
    await fs.symlink(join(base, 'home-of-another'), join(root, 'link'))
    assert.equal((await call('DELETE', 'api/contents/link?recursive=1')).status, 204)
    assert.deepEqual(await fs.readdir(join(base, 'home-of-another')), ['x.txt'])
  })

  it('never renames over something', async () => {
    await fs.writeFile(join(root, 'a'), 'a')
    await fs.writeFile(join(root, 'b'), 'b')
    assert.equal((await call('PATCH', 'api/contents/a', { path: 'b' })).status, 409)
    assert.equal(await read('b'), 'b')
  })

  for (const path of [
    '../secret.txt',
    '%2e%2e/secret.txt',
    '%2e%2e%2fsecret.txt',
    '..%2fsecret.txt',
    'a/../../secret.txt',
    'a/%2e%2e/%2e%2e/secret.txt',
    './secret.txt',
    '../home-of-another/x.txt',
    '..%2fhome-of-another/x.txt',
    '%00',
    'a%00b',
    'out/secret.txt',
    'out',
    'file-link',
    'dangling',
    'loop',
  ]) {
    it(`stays below its root for ${path}`, async () => {
      await fs.mkdir(join(root, 'a'))
      await fs.symlink(base, join(root, 'out'))
      await fs.symlink(join(base, 'secret.txt'), join(root, 'file-link'))
      await fs.symlink(join(base, 'made.txt'), join(root, 'dangling'))
      await fs.symlink('loop', join(root, 'loop'))
      for (const area of ['api/contents', 'files']) {
        const { status, body } = await raw('GET', `/user/ada/${area}/${path}`)
        assert.equal(status, 404, `${area} ${body}`)
        assert.doesNotMatch(body, /outside|\/tmp/)
      }
      for (const area of ['api/contents', 'files']) {
        const { status } = await raw('PUT', `/user/ada/${area}/${path}`)
        assert.ok([400, 404, 409].includes(status), `PUT ${area} answers ${status}`)
      }
      const target = decodeURIComponent(path)
      const moved = await call('PATCH', 'api/contents/a', { path: target })
      assert.ok([400, 404, 409].includes(moved.status), `PATCH answers ${moved.status}`)
      assert.deepEqual((await fs.readdir(base)).toSorted(), [
        'home',
        'home-of-another',
        'secret.txt',
      ])
      assert.equal(await fs.readFile(join(base, 'secret.txt'), 'utf8'), 'outside')
    })
  }

  for (const path of [
    '//etc/passwd',
    '/etc/passwd',
    '%2fetc%2fpasswd',
    'C:%5Cx',
    '%5c%5chost%5cx',
  ]) {
    it(`takes ${path} for a name below its root`, async () => {
      assert.equal((await raw('GET', `/user/ada/files/${path}`)).status, 404)
    })
  }

  it('takes a path that is not percent-encoding for a mistake', async () => {
    assert.equal((await raw('GET', '/user/ada/api/contents/%zz')).status, 400)
  })

  for (const name of ['a%0Ab', 'a%7F', 'a%5Cb', '%20a', 'x'.repeat(256)]) {
    it(`refuses to make ${name.slice(0, 12)}`, async () => {
      assert.equal((await call('PUT', `api/contents/${name}`, text(''))).status, 400)
    })
  }

  it('shows links out of its root as such', async () => {
    await fs.symlink('/etc/passwd', join(root, 'out'))
    await fs.writeFile(join(root, 'in'), '')
    await fs.symlink('in', join(root, 'inner'))
    const entries: { name: string; openable: boolean }[] = Object(
      (await call('GET', 'api/contents/')).json['content'],
    )
    const openable = Object.fromEntries(entries.map((entry) => [entry.name, entry.openable]))
    assert.deepEqual(openable, { out: false, in: true, inner: true })
  })

  for (const body of [
    '[]',
    '"x"',
    'null',
    '{',
    '{"path":7}',
    '{"path":"\\ud800"}',
    '{"path":""}',
  ]) {
    it(`answers 400 to a rename with ${body}`, async () => {
      await fs.writeFile(join(root, 'a'), '')
      assert.equal((await call('PATCH', 'api/contents/a', body)).status, 400)
    })
  }

  it('downloads as an attachment that nothing renders', async () => {
    await fs.writeFile(join(root, 'ü "x".html'), '<script>1</script>')
    const reply = await call('GET', `files/${encodeURIComponent('ü "x".html')}`)
    const disposition = `attachment; filename="_ _x_.html"; filename*=UTF-8''%C3%BC%20%22x%22.html`
    assert.equal(reply.headers.get('content-disposition'), disposition)
    assert.equal(reply.headers.get('content-type'), 'application/octet-stream')
    assert.equal(reply.headers.get('x-content-type-options'), 'nosniff')
    assert.match(reply.headers.get('content-security-policy') ?? '', /^sandbox;/)
    assert.equal(reply.headers.get('cross-origin-resource-policy'), 'same-origin')
  })

  for (const [range, status, content] of [
    ['bytes=0-3', 206, '0123'],
    ['bytes=8-', 206, '89'],
    ['bytes=-3', 206, '789'],
    ['bytes=5-99', 206, '56789'],
    ['bytes=10-', 416, ''],
    ['bytes=5-2', 200, '0123456789'],
    ['bytes=0-1,3-4', 200, '0123456789'],
    ['lines=1-2', 200, '0123456789'],
  ] as const) {
    it(`answers the range ${range} with ${status}`, async () => {
      await fs.writeFile(join(root, 'digits'), '0123456789')
      const reply = await call('GET', 'files/digits', undefined, { range })
      assert.equal(reply.status, status)
      assert.equal(reply.json['text'], content)
    })
  }

  it('answers HEAD, empty files and what the browser has already', async () => {
    await fs.writeFile(join(root, 'empty'), '')
    const empty = await call('GET', 'files/empty')
    assert.deepEqual([empty.status, empty.json['text']], [200, ''])
    await fs.writeFile(join(root, 'full'), 'abc')
    const head = await call('HEAD', 'files/full')
    assert.equal(head.headers.get('content-length'), '3')
    const headers = { 'if-none-match': String(head.headers.get('etag')) }
    assert.equal((await call('GET', 'files/full', undefined, headers)).status, 304)
  })

  it('refuses what is neither file nor folder without hanging', async () => {
    assert.equal((await call('GET', 'files/')).status, 400)
    const { spawnSync } = await import('node:child_process')
    spawnSync('mkfifo', [join(root, 'pipe')])
    assert.equal((await call('GET', 'files/pipe')).status, 400)
    assert.equal((await call('GET', 'api/contents/pipe')).status, 400)
    assert.equal((await call('PUT', 'files/pipe', 'x')).status, 400)
  })

  it('streams uploads and downloads larger than its memory would like', async () => {
    const size = 192 * 1024 * 1024
    const block = Buffer.alloc(1024 * 1024, 7)
    const path = '/user/ada/files/big.bin'
    const outgoing = httpRequest({
      host: '127.0.0.1',
      port: server.port,
      method: 'PUT',
      path,
      headers: { authorization },
    })
    for (let sent = 0; sent < size; sent += block.length) {
      if (!outgoing.write(block)) await once(outgoing, 'drain')
    }
    const [reply] = await once(outgoing.end(), 'response')
    reply.resume()
    assert.equal(reply.statusCode, 201)
    assert.equal((await fs.stat(join(root, 'big.bin'))).size, size)
    const url = `http://127.0.0.1:${server.port}${path}`
    const download = await fetch(url, { headers: { authorization } })
    let received = 0
    for await (const chunk of download.body ?? []) received += Object(chunk).length
    assert.equal(received, size)
    const status = await fs.readFile(`/proc/${server.child.pid}/status`, 'utf8')
    assert.ok(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) < 180 * 1024)
    assert.equal((await call('GET', 'api/contents/big.bin')).status, 413)
  })

  it('leaves nothing behind when an upload breaks off', async () => {
    await fs.writeFile(join(root, 'kept.txt'), 'old')
    const outgoing = httpRequest({
      host: '127.0.0.1',
      port: server.port,
      method: 'PUT',
      path: '/user/ada/files/kept.txt',
      headers: { authorization, 'content-length': 1000 },
    })
    outgoing.on('error', () => {})
    outgoing.write('new')
    await until('the draft', async () => (await fs.readdir(root)).length === 2)
    outgoing.destroy()
    await until('no draft', async () => (await fs.readdir(root)).length === 1)
    assert.equal(await read('kept.txt'), 'old')
  })
})
