/** The header fields of one message in their order, with repeated ones and their letter case. */
export class HeaderList {
  #raw: string[]

  /** Takes name, value, name, value, as `rawHeaders` of node:http. */
  constructor(raw: readonly string[]) {
    this.#raw = [...raw]
  }

  /** All values of a field, joined as RFC 9110 5.3 says. `name` in lower case. */
  get(name: string): string | undefined {
    const values = this.#values(name)
    return values.length === 0 ? undefined : values.join(name === 'cookie' ? '; ' : ', ')
  }

  count(name: string): number {
    return this.#values(name).length
  }

  /** Removes fields by name (in lower case). Returns whether there were any. */
  dropWhere(drops: (name: string) => boolean): boolean {
    const kept: string[] = []
    for (let i = 0; i < this.#raw.length; i += 2) {
      const name = this.#raw[i] ?? ''
      if (!drops(name.toLowerCase())) kept.push(name, this.#raw[i + 1] ?? '')
    }
    const hasDropped = kept.length < this.#raw.length
    this.#raw = kept
    return hasDropped
  }

  drop(name: string): boolean {
    return this.dropWhere((each) => each === name)
  }

  /** Puts one field in the place of all of that name, whatever their case. */
  set(name: string, value: string): void {
    this.drop(name.toLowerCase())
    this.#raw.push(name, value)
  }

  toRaw(): string[] {
    return this.#raw
  }

  #values(name: string): string[] {
    const values: string[] = []
    for (let i = 0; i < this.#raw.length; i += 2) {
      const each = this.#raw[i] ?? ''
      if (each.length === name.length && each.toLowerCase() === name) {
        values.push(this.#raw[i + 1] ?? '')
      }
    }
    return values
  }
}
