import type { ServiceModel } from './models.ts'
import { json, segment, type Transport } from './transport.ts'

/** A service that is registered while the hub runs; those with a command are for the config only. */
export interface NewService {
  /** Where it listens. The hub waits until it answers. */
  readonly url?: string
  readonly admin?: boolean
  /** At least 8 characters. */
  readonly apiToken?: string
  readonly info?: Readonly<Record<string, unknown>>
  /** Whether pages show it. Default: true. */
  readonly display?: boolean
  readonly oauthClientId?: string
  readonly oauthRedirectUri?: string
  readonly oauthClientAllowedScopes?: readonly string[]
  /** Skips the consent page. */
  readonly oauthNoConfirm?: boolean
}

/** Services: programs registered with the hub. */
export function serviceCalls({ send }: Transport) {
  const path = (service: string): string => `services/${segment(service)}`
  return {
    async services(): Promise<readonly ServiceModel[]> {
      return Object.values(json<Readonly<Record<string, ServiceModel>>>(await send('services')))
    },

    service: async (name: string) => json<ServiceModel>(await send(path(name))),

    async createService(name: string, service: NewService) {
      const body = {
        url: service.url,
        admin: service.admin,
        api_token: service.apiToken,
        info: service.info,
        display: service.display,
        oauth_client_id: service.oauthClientId,
        oauth_redirect_uri: service.oauthRedirectUri,
        oauth_client_allowed_scopes: service.oauthClientAllowedScopes,
        oauth_no_confirm: service.oauthNoConfirm,
      }
      return json<ServiceModel>(await send(path(name), { method: 'POST', body }))
    },

    /** 405 for a service of the config. */
    async deleteService(name: string): Promise<void> {
      await send(path(name), { method: 'DELETE' })
    },
  }
}
