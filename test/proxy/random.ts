/** The same numbers for the same seed (mulberry32), so that what a fuzz test finds can be found again. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** From 0 up to, not including, `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0]
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }

  text(maxLength: number, alphabet: string): string {
    let text = ''
    for (let left = this.below(maxLength + 1); left > 0; left -= 1) {
      text += alphabet[this.below(alphabet.length)]
    }
    return text
  }

  /** Cuts in up to `most` pieces; none is empty. */
  cut<T extends string | Buffer>(whole: T, most: number): T[] {
    const pieces: T[] = []
    let at = 0
    for (let i = 1; i < most && at < whole.length; i += 1) {
      const end = at + 1 + this.below(whole.length - at)
      pieces.push(whole.slice(at, end) as T)
      at = end
    }
    if (at < whole.length) pieces.push(whole.slice(at) as T)
    return pieces
  }
}

const lettersAndDigits = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** A body with or without what looks like a message of its own. */
export function randomBody(random: Random): string {
  if (random.oneIn(4)) return ''
  const smuggled = random.oneIn(3) ? '\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n' : ''
  return `${random.text(200, `${lettersAndDigits}\r\n\0:;\xff`)}${smuggled}`
}

/** The same body in chunks, with extensions and odd but valid sizes. */
export function chunked(random: Random, body: string, trailers: readonly string[] = []): string {
  const pieces = random.cut(body, 4).map((piece) => {
    const size = piece.length.toString(16)
    const written = random.oneIn(2) ? size.toUpperCase() : `00${size}`
    return `${written}${random.oneIn(5) ? ';a="b"' : ''}\r\n${piece}\r\n`
  })
  return `${pieces.join('')}0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`
}

/** Header lines that mean nothing here, with repeated names and odd values. */
export function randomHeaders(random: Random): [name: string, value: string][] {
  const count = random.below(6)
  return Array.from({ length: count }, () => [
    `X-${random.text(8, `${lettersAndDigits}-_.!#$`)}`,
    random.text(30, `${lettersAndDigits} \t,;="'\xe9\xff`).trim(),
  ])
}

/** What attackers and broken programs put where it does not belong. */
const poison = [
  '\0',
  '\n',
  '\r',
  '\r\n',
  ' ',
  '\t',
  ':',
  '\x7f',
  '\xff',
  ',',
  '-',
  '+',
  '0',
  '1',
  'HTTP/1.1',
  'HTTP/1.0',
  'chunked',
  'Content-Length: 3\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Connection: close\r\n',
  'Connection: content-length, transfer-encoding\r\n',
  'Host: evil.test\r\n',
] as const

/** Changes a message in one to three places. */
export function mutate(random: Random, message: string): string {
  for (let left = 1 + random.below(3); left > 0; left -= 1) {
    const at = random.below(message.length)
    const kept = random.pick([0, 0, 1, 2, 9])
    const put = random.oneIn(4) ? '' : random.pick(poison)
    message = message.slice(0, at) + put + message.slice(at + kept)
  }
  return message
}
