import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidObject, MemberReader } from '../../proxy/member-reader.ts'

/** Reads `text` in pieces of `size` bytes. */
function read(text: string, size: number): [name: string, value: unknown][] {
  const bytes = Buffer.from(text)
  const reader = new MemberReader()
  const members: [string, unknown][] = []
  for (let at = 0; at < bytes.length; at += size) {
    members.push(...reader.push(bytes.subarray(at, at + size)))
  }
  reader.end()
  return members
}

const sizes = [1, 2, 3, 7, 1_000]

test('reads what JSON.parse reads, however it is cut', () => {
  const objects = [
    '{}',
    ' \r\n\t{ \n } ',
    '{"a":1}',
    ' { "a" : null , "b" : [ 1 , { "c" : "}" } ] } ',
    '{"\\"},{":"\\\\","é/𝒳":"ü, {","":{},"__proto__":[[],[]]}',
    JSON.stringify({ '/user/a b': { target: 'http://x', deep: [{ a: [1, '[', ']'] }] } }, null, 2),
  ]
  for (const text of objects) {
    for (const size of sizes) {
      assert.deepEqual(read(text, size), Object.entries(JSON.parse(text) as object), text)
    }
  }
})

test('refuses what is not one object', () => {
  const lines = `
    null | [] | "{}" | { | {"a":1 | {"a":1] | [1} | {] | {"a":[1} | {"a":{]} | {"a":[},"b":1} | {"a
    {,} | {"a":1,} | {,"a":1} | {"a":1,,"b":2} | {"a"} | {"a":} | {a:1} | {"a":1 "b":2} | {'a':1}
    {}{} | {}, | {"a":1}x | {"a":1}}`
  for (const text of [...lines.split(/\n| \| /), '\ufeff{}', '{"a":"\n"}']) {
    for (const size of sizes) assert.throws(() => read(text, size), InvalidObject, text)
  }
})
