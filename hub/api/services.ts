import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import { allows } from '../../packages/core/scopes.ts'
import { serviceName, serviceOptions, serviceToken } from '../config/services.ts'
import type { Caller } from '../domain/access.ts'
import type { NewService, Services, ServiceView } from '../domain/services.ts'
import { jsonObject } from './body.ts'
import { type Endpoint, empty, endpoint, json } from './endpoint.ts'

const {
  url,
  admin,
  display,
  oauthClientId,
  oauthRedirectUri,
  oauthClientAllowedScopes,
  oauthNoConfirm,
} = serviceOptions

/** What a service that is made at run time may be given; the rest of what the config knows starts commands. */
const newService = z
  .strictObject({
    name: z.string().optional(),
    url: url.nullable(),
    admin: admin.unwrap().optional(),
    api_token: serviceToken.nullish(),
    info: jsonObject.optional(),
    display: display.unwrap().optional(),
    oauth_client_id: oauthClientId.nullable(),
    oauth_redirect_uri: oauthRedirectUri.nullable(),
    oauth_client_allowed_scopes: oauthClientAllowedScopes.unwrap().optional(),
    oauth_no_confirm: oauthNoConfirm.unwrap().optional(),
    command: z.array(z.string()).optional(),
    cwd: z.string().nullish(),
    environment: z.record(z.string(), z.string()).nullish(),
    user: z.string().nullish(),
  })
  .refine((body) => Object.keys(body).length > 0, { error: 'says nothing about the service' })

const serviceSchema = z.object({
  kind: z.literal('service'),
  name: z.string(),
  admin: z.boolean().optional(),
  url: z.string().nullable().optional(),
  prefix: z.string().optional(),
  command: z.array(z.string()).optional(),
  pid: z.int().meta({ description: '0 when the hub does not run it' }).optional(),
  info: z.record(z.string(), z.unknown()).optional(),
  display: z.boolean().optional(),
  roles: z.array(z.string()).optional(),
})

const readingScopes = ['read:services', 'read:services:name', 'read:roles:services']

/** Programs registered with the hub (wire section 2.9). */
export function serviceEndpoints({
  services,
}: {
  readonly services: Services
}): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/services',
      summary: 'List services, by their names',
      access: { scopes: ['list:services'], on: 'list', filters: ['service'] },
      answers: { 200: z.record(z.string(), serviceSchema) },
      async handle({ caller }) {
        const shown = (await services.all()).filter((service) =>
          holds(caller, service, 'list:services'),
        )
        return json(Object.fromEntries(shown.map((one) => [one.name, serviceModel(one, caller)])))
      },
    }),
    endpoint({
      method: 'GET',
      path: '/services/:service',
      summary: 'Read a service',
      access: { scopes: readingScopes, on: 'service' },
      answers: { 200: serviceSchema },
      async handle({ caller, params }) {
        return json(serviceModel(await services.byName(params.service), caller))
      },
    }),
    endpoint({
      method: 'POST',
      path: '/services/:service',
      summary: 'Register a service that runs by itself',
      access: { scopes: ['admin:services'], on: 'service' },
      body: newService,
      bodyRequired: true,
      answers: { 201: serviceSchema },
      async handle({ caller, params, body }) {
        const wanted = wantedService(serviceName.parse(params.service), body)
        return json(serviceModel(await services.create(wanted, caller), caller), 201)
      },
    }),
    endpoint({
      method: 'DELETE',
      path: '/services/:service',
      summary: 'Delete a service that was made through the API',
      access: { scopes: ['admin:services'], on: 'service' },
      answers: { 200: 'It is gone, with its token' },
      async handle({ caller, params }) {
        await services.delete(params.service, caller)
        return empty(200)
      },
    }),
  ]
}

function wantedService(name: string, body: z.output<typeof newService>): NewService {
  if (body.command && body.command.length > 0)
    throw new HubError('invalid_request', `Can not create managed service ${name} at runtime`)
  return {
    name,
    url: body.url ?? null,
    admin: body.admin ?? false,
    info: body.info ?? {},
    display: body.display ?? true,
    apiToken: body.api_token ?? null,
    oauthClientId: body.oauth_client_id ?? null,
    oauthRedirectUri: body.oauth_redirect_uri ?? null,
    oauthClientAllowedScopes: body.oauth_client_allowed_scopes ?? [],
    oauthNoConfirm: body.oauth_no_confirm ?? false,
  }
}

function holds(caller: Caller, { name }: ServiceView, ...scopes: readonly string[]): boolean {
  const resource = { kind: 'service', service: name } as const
  return scopes.some((scope) => allows(caller.scopes, scope, resource))
}

/** As somebody who may at least know which service it is: its name is always shown (wire section 2.2). */
export function identifiedService(service: ServiceView, caller: Caller) {
  const identify = `read:services:name!service=${service.name}`
  return serviceModel(service, { ...caller, scopes: new Set([...caller.scopes, identify]) })
}

/** A service as far as this caller may see it (wire section 3.4). */
function serviceModel(service: ServiceView, caller: Caller) {
  return {
    kind: 'service',
    name: service.name,
    ...(holds(caller, service, ...readingScopes) ? { admin: service.admin } : {}),
    ...(holds(caller, service, 'read:services')
      ? {
          url: service.url,
          prefix: service.prefix ?? '',
          command: service.command,
          pid: service.pid,
          info: service.info,
          display: service.display,
        }
      : {}),
    ...(holds(caller, service, 'read:roles:services') ? { roles: service.roles } : {}),
  }
}
