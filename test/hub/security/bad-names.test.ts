import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { type HubUnderAttack, startHubUnderAttack } from '../../support/hub-under-attack.ts'

describe('a bad name', () => {
  let test: HubUnderAttack

  before(async () => {
    test = await startHubUnderAttack()
  })
  after(() => test[Symbol.asyncDispose]())

  async function isRefused(what: string, answer: Promise<{ status: number; body: string }>) {
    const { status, body } = await answer
    assert.ok(
      status >= 400 && status < 500,
      `${what.slice(0, 200)}: ${status} ${body.slice(0, 300)}`,
    )
    return body
  }

  it('is refused when users are made and renamed', async () => {
    const bad = [
      '',
      ' ',
      ' a',
      '.',
      '..',
      'a/b',
      '\uff0f',
      '\uff0e\uff0e',
      'a\u0000',
      'a\r\nb',
      'a\tb',
    ]
    bad.push('\u200b', 'a\u202eb', 'a'.repeat(256), '\u00e9'.repeat(128), '\u0085', 'x\u2028y')
    for (const name of bad) {
      const what = JSON.stringify(name)
      if (name !== ' a') {
        await isRefused(
          what,
          test.send('POST', '/hub/api/users', JSON.stringify({ usernames: [name] })),
        )
        await isRefused(what, test.send('PATCH', '/hub/api/users/root', JSON.stringify({ name })))
      }
      const path = `/hub/api/users/${encodeURIComponent(name)}`
      const { status } = await test.send('POST', path)
      assert.ok(status >= 400 && status < 500, `${path}: ${status}`)
    }
    const lone = String.raw`"\ud800"`
    await isRefused(
      'lone surrogate',
      test.send('POST', '/hub/api/users', `{"usernames":[${lone}]}`),
    )
    await isRefused('lone surrogate', test.send('PATCH', '/hub/api/users/root', `{"name":${lone}}`))
    const names = []
    for await (const user of test.operator.users()) names.push(user.name)
    assert.deepEqual(names, ['root'])
  })

  it('that looks like another name is that name', async () => {
    await test.operator.createUsers(['kelvin'])
    for (const name of ['KELVIN', '\u212aelvin', '\uff4belvin', 'kel\u2174in']) {
      const taken = await test.send('POST', '/hub/api/users', JSON.stringify({ usernames: [name] }))
      assert.equal(taken.status, 409, name)
      assert.equal((await test.operator.user(name)).name, 'kelvin')
      const renamed = await test.send('PATCH', '/hub/api/users/root', JSON.stringify({ name }))
      assert.equal(renamed.status, 400)
    }
    await test.operator.deleteUser('kelvin')
  })

  it('that only programs find special is a name like any other', async () => {
    const names = ['constructor', '__proto__', 'prototype', '-rf', 'hub', 'null', 'a b', "o'neil"]
    names.push(
      'zo\u00eb',
      '%2e%2e',
      '<b>',
      '"; drop table users',
      '$(id)',
      'a;b',
      'a?b',
      'a#b',
      'a%',
    )
    const made = await test.operator.createUsers(names)
    assert.deepEqual(
      made.map(({ name }) => name),
      names,
    )
    for (const name of names) {
      assert.equal((await test.operator.user(name)).name, name)
      assert.equal((await test.operator.server(name)).full_name, `${name}/`)
      await test.operator.createToken(name)
      const browser = new Browser(test.origin)
      await browser.logIn('/', name, 'pw')
      const home = await browser.get('/hub/home')
      assert.equal(home.status, 200, name)
      assert.doesNotMatch(home.text, /<b>|\/user\/\.\.|"; drop/)
      await test.operator.deleteUser(name)
    }
  })
})
