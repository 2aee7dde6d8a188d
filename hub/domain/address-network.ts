import { isIP } from 'node:net'

/**
 * The network that stands for an address where addresses are counted: of IPv6 the first 64 bits, since
 * one site has all the others (RFC 6177); IPv4 as it is, in whichever notation. Other texts stay.
 */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  if (isIP(plain) !== 6) return plain
  const [front = [], back = []] = plain.split('::').map(groupsOf)
  const zeros = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => 0)
  const groups = [...front, ...zeros, ...back].slice(0, 4)
  return `${groups.map((group) => group.toString(16)).join(':')}::/64`
}

const groupsOf = (text: string): readonly number[] =>
  text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
