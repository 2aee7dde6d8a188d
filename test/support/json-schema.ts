import type { Schema } from './api-document.ts'

type Check = (wanted: unknown, value: unknown, at: At) => readonly string[]

interface At {
  readonly path: string
  readonly schema: Schema
  /** The document in which references are looked up. */
  readonly root: unknown
}

/**
 * How a value departs from a schema, in words; empty when it conforms. For the keywords that the
 * API's document uses: any other is a departure, so that none is passed over.
 */
export function departures(
  schema: Schema,
  value: unknown,
  root: unknown,
  path = '$',
): readonly string[] {
  return Object.entries(schema).flatMap(([keyword, wanted]) => {
    const check = Object.hasOwn(checks, keyword) ? checks[keyword] : undefined
    if (!check) return [`${path}: the keyword ${keyword} is not known here`]
    return check(wanted, value, { path, schema, root })
  })
}

const nothing: Check = () => []

const claim =
  (holds: (wanted: never, value: never) => boolean): Check =>
  (wanted, value, { path }) =>
    holds(wanted as never, value as never)
      ? []
      : [`${path}: ${JSON.stringify(value)?.slice(0, 200)} is not ${JSON.stringify(wanted)}`]

const checks: Readonly<Record<string, Check>> = {
  $ref(wanted, value, { path, root }) {
    const found = resolved(root, String(wanted))
    return found ? departures(found, value, root, path) : [`${path}: ${String(wanted)} is nowhere`]
  },
  type: claim((wanted: string | string[], value) =>
    [wanted].flat().some((type) => isOfType(type, value)),
  ),
  const: claim((wanted, value) => wanted === value),
  enum: claim((wanted: unknown[], value) => wanted.includes(value)),
  pattern: claim((wanted: string, value) => new RegExp(wanted, 'u').test(value)),
  minimum: claim((wanted: number, value: number) => value >= wanted),
  maximum: claim((wanted: number, value: number) => value <= wanted),
  minLength: claim((wanted: number, value: string) => value.length >= wanted),
  maxLength: claim((wanted: number, value: string) => value.length <= wanted),
  minItems: claim((wanted: number, value: unknown[]) => value.length >= wanted),
  maxItems: claim((wanted: number, value: unknown[]) => value.length <= wanted),
  anyOf(wanted, value, { path, root }) {
    const found = (wanted as Schema[]).map((schema) => departures(schema, value, root, path))
    return found.some((each) => each.length === 0) ? [] : found.flat()
  },
  required: (wanted, value, { path }) =>
    isObject(value)
      ? (wanted as string[])
          .filter((name) => !Object.hasOwn(value, name))
          .map((name) => `${path}: lacks ${name}`)
      : [],
  properties: (wanted, value, { path, root }) =>
    isObject(value)
      ? Object.entries(wanted as Record<string, Schema>).flatMap(([name, schema]) =>
          Object.hasOwn(value, name)
            ? departures(schema, value[name], root, `${path}.${name}`)
            : [],
        )
      : [],
  additionalProperties(wanted, value, { path, schema, root }) {
    if (!isObject(value)) return []
    const known = Object.keys((schema['properties'] as object | undefined) ?? {})
    const others = Object.entries(value).filter(([name]) => !known.includes(name))
    if (wanted === false) return others.map(([name]) => `${path}: ${name} is not documented`)
    return others.flatMap(([name, one]) =>
      departures(wanted as Schema, one, root, `${path}.${name}`),
    )
  },
  propertyNames: (wanted, value, { path, root }) =>
    isObject(value)
      ? Object.keys(value).flatMap((name) => departures(wanted as Schema, name, root, path))
      : [],
  items: (wanted, value, { path, root }) =>
    Array.isArray(value)
      ? value.flatMap((item, index) =>
          departures(wanted as Schema, item, root, `${path}[${index}]`),
        )
      : [],
  format: nothing,
  description: nothing,
  default: nothing,
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function isOfType(type: string, value: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null
    case 'array':
      return Array.isArray(value)
    case 'object':
      return isObject(value)
    case 'integer':
      return Number.isInteger(value)
    default:
      return typeof value === type
  }
}

/** What a reference within the document means; null when it means nothing. */
export function resolved(root: unknown, reference: string): Schema | null {
  if (!reference.startsWith('#/')) return null
  let here = root
  for (const part of reference.slice(2).split('/'))
    here = isObject(here) && Object.hasOwn(here, part) ? here[part] : undefined
  return isObject(here) ? here : null
}
