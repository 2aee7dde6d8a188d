/**
 * The header fields of one message in their order, with repeated ones and their letter case. Made for
 * a handful of look-ups per request: each name is brought to lower case once.
 */
export class HeaderList {
  #raw: string[]
  #names: string[]

  /** Takes name, value, name, value, as `rawHeaders` of node:http. */
  constructor(raw: readonly string[]) {
    this.#raw = [...raw]
    this.#names = []
    for (let i = 0; i < raw.length; i += 2) this.#names.push((raw[i] ?? '').toLowerCase())
  }

  /** All values of a field, joined as RFC 9110 5.3 says. `name` in lower case. */
  get(name: string): string | undefined {
    const first = this.#names.indexOf(name)
    if (first < 0) return undefined
    let value = this.#raw[first * 2 + 1] ?? ''
    for (let i = this.#names.indexOf(name, first + 1); i >= 0;) {
      value += `${name === 'cookie' ? '; ' : ', '}${this.#raw[i * 2 + 1]}`
      i = this.#names.indexOf(name, i + 1)
    }
    return value
  }

  /** Removes fields by name (in lower case). Returns whether there were any. */
  dropWhere(drops: (name: string) => boolean): boolean {
    const before = this.#names.length
    let kept = 0
    for (let i = 0; i < before; i += 1) {
      const name = this.#names[i] ?? ''
      if (drops(name)) continue
      if (kept < i) this.#move(i, kept, name)
      kept += 1
    }
    this.#names.length = kept
    this.#raw.length = kept * 2
    return kept < before
  }

  drop(name: string): boolean {
    return this.#names.includes(name) && this.dropWhere((each) => each === name)
  }

  /** Puts one field in the place of all of that name, whatever their case. */
  set(name: string, value: string): void {
    const lower = name.toLowerCase()
    this.drop(lower)
    this.#names.push(lower)
    this.#raw.push(name, value)
  }

  toRaw(): string[] {
    return this.#raw
  }

  #move(from: number, to: number, name: string): void {
    this.#names[to] = name
    this.#raw[to * 2] = this.#raw[from * 2] ?? ''
    this.#raw[to * 2 + 1] = this.#raw[from * 2 + 1] ?? ''
  }
}

/** The first value of a field in name, value, name, value; `name` in lower case. Null when there is none. */
export function fieldOf(flat: readonly string[], name: string): string | null {
  for (let i = 0; i < flat.length; i += 2) {
    const each = flat[i] ?? ''
    if (each.length === name.length && each.toLowerCase() === name) return flat[i + 1] ?? ''
  }
  return null
}

/** Fields as node:http wants them in some places. */
export function pairs(flat: readonly string[]): [name: string, value: string][] {
  const result: [string, string][] = []
  for (let i = 0; i < flat.length; i += 2) result.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return result
}
