import { type AuthenticatorDriver, defineAuthenticator } from 'portico/authenticator'
import { z } from 'zod'
import { type Defaults, type OauthOptions, oauthOptions } from './options.ts'
import type { OauthContext, Provider } from './provider.ts'

/** A provider as a driver: only what differs from the others. */
export interface Preset<Shape extends z.ZodRawShape> {
  readonly name: string
  readonly defaults: Defaults
  /** Options of this provider alone. */
  readonly options: Shape
  /** What is wrong with them together: path and message. */
  readonly problems?: (options: Chosen<Shape>) => Iterable<readonly [string, string]>
  /** Whether options of its own let somebody in, besides those whose names begin with `allowed`. */
  readonly allows?: (options: Chosen<Shape>) => boolean
  readonly provider: (options: Chosen<Shape>, context: OauthContext) => Provider
}

type Chosen<Shape extends z.ZodRawShape> = OauthOptions & z.output<z.ZodObject<Shape>>

export function defineOauth<Shape extends z.ZodRawShape>(
  preset: Preset<Shape>,
): AuthenticatorDriver {
  const { name, defaults, options: own, provider } = preset
  const config = z
    .strictObject({ ...oauthOptions(defaults), ...own })
    .superRefine((options, context) => {
      const chosen = options as Chosen<Shape>
      for (const [path, message] of [
        ...sharedProblems(chosen),
        ...(preset.problems?.(chosen) ?? []),
      ])
        context.addIssue({ code: 'custom', path: [path], message })
    })
  return defineAuthenticator({
    name,
    config,
    // `allowUnverifiedEmail` lets nobody in.
    allows: (options) =>
      (preset.allows?.(options as Chosen<Shape>) ?? false) ||
      Object.entries(options).some(
        ([option, value]) => option.startsWith('allowed') && holdsAny(value),
      ),
    async create(options, context) {
      const { createOauthAuthenticator } = await import('./create.ts')
      const chosen = options as Chosen<Shape>
      return createOauthAuthenticator(chosen, provider(chosen, context), context)
    },
  })
}

function holdsAny(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0
}

function* sharedProblems(options: OauthOptions): Iterable<readonly [string, string]> {
  const proofs = ['clientSecret', 'clientSecretFile', 'clientKeyFile'] as const
  const given = proofs.filter((name) => options[name] !== undefined)
  if (given.length > 1) yield [given[1] ?? '', `and ${given[0]} exclude each other: keep one`]
  const missing = options.allowedScopes.filter((scope) => !options.scope.includes(scope))
  if (missing.length > 0)
    yield ['allowedScopes', `holds ${missing.join(', ')}, which scope does not ask for`]
}
