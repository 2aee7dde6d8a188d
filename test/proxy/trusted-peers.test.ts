import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TrustedPeers, defaultTrustedPeers } from '../../proxy/trusted-peers.ts'

test('trusts the same machine and nobody else by default', () => {
  const peers = new TrustedPeers(defaultTrustedPeers)
  for (const peer of ['127.0.0.1', '127.8.8.8', '::1', null]) assert.ok(peers.trusts(peer))
  for (const peer of ['10.0.0.1', '128.0.0.1', '::2', 'fe80::1']) assert.ok(!peers.trusts(peer))
})

test('trusts addresses and networks that are listed, instead', () => {
  const peers = new TrustedPeers(['10.1.0.0/16', '192.0.2.7', 'fd00::/8'])
  for (const peer of ['10.1.255.1', '192.0.2.7', 'fd12::1']) assert.ok(peers.trusts(peer))
  for (const peer of ['10.2.0.1', '192.0.2.8', '127.0.0.1', '::1', null]) {
    assert.ok(!peers.trusts(peer))
  }
  assert.ok(!new TrustedPeers([]).trusts('127.0.0.1'))
})

test('names an entry that cannot be read', () => {
  for (const entry of ['localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0', '*']) {
    assert.throws(() => new TrustedPeers([entry]), {
      message: new RegExp(`^"${entry.replace('*', '\\*')}"`),
    })
  }
})
