import {
  AndFilter,
  ApproximateFilter,
  EqualityFilter,
  ExtensibleFilter,
  type Filter,
  FilterParser,
  GreaterThanEqualsFilter,
  LessThanEqualsFilter,
  NotFilter,
  OrFilter,
  SubstringFilter,
} from 'ldapts'

/** What stands for `{login}`, `{userdn}` and so on. */
export type Values = Readonly<Record<string, string>>

/**
 * A value as it stands in a DN (RFC 4514 section 2.4): whatever it holds, it stays one value.
 */
export function escapeDnValue(value: string): string {
  return value
    .replaceAll(/[\\,+"<>;=]/g, (special) => `\\${special}`)
    .replaceAll('\0', '\\00')
    .replace(/^[ #]/, (first) => `\\${first}`)
    .replace(/ $/, '\\ ')
}

/**
 * Reads a filter of the config once (RFC 4515). The result puts values into the filter's own parts,
 * never into its text, so that no value can change what is asked for.
 * @throws {Error} when the text is no filter.
 */
export function compileFilter(text: string): (values: Values) => Filter {
  FilterParser.parseString(text)
  return (values) => filled(FilterParser.parseString(text), values)
}

function filled(filter: Filter, values: Values): Filter {
  const fill = (text: string): string => fillIn(text, values)
  if (filter instanceof AndFilter || filter instanceof OrFilter)
    for (const part of filter.filters) filled(part, values)
  else if (filter instanceof NotFilter) filled(filter.filter, values)
  else if (filter instanceof SubstringFilter) {
    filter.initial = fill(filter.initial)
    filter.any = filter.any.map(fill)
    filter.final = fill(filter.final)
  } else if (filter instanceof EqualityFilter) filter.value = fill(String(filter.value))
  else if (
    filter instanceof ExtensibleFilter ||
    filter instanceof ApproximateFilter ||
    filter instanceof GreaterThanEqualsFilter ||
    filter instanceof LessThanEqualsFilter
  )
    filter.value = fill(filter.value)
  return filter
}

/** Replaces `{name}` once; braces in a value are left alone. */
export function fillIn(text: string, values: Values): string {
  return text.replaceAll(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(values, name) ? (values[name] ?? whole) : whole,
  )
}
