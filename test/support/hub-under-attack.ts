import { rawSend } from './raw-http.ts'
import { startTestHub, type TestHub } from './start-hub.ts'

/** A hub with the admin `root`; everybody's password is `pw`. */
export interface HubUnderAttack extends TestHub {
  /** An API token of `root`. */
  readonly token: string
  /** Asks through the proxy, as `root`; the path is sent byte by byte. */
  send(method: string, path: string, body?: string): ReturnType<typeof rawSend>
}

/** For requests that must not do any harm, whoever sends them. */
export async function startHubUnderAttack(): Promise<HubUnderAttack> {
  const test = await startTestHub({
    config: { hub: { adminUsers: ['root'] }, authenticator: { password: 'pw' } },
  })
  const { token } = await test.operator.createToken('root')
  return {
    ...test,
    token,
    send: (method, path, body = '') =>
      rawSend(test.origin, path, {
        method,
        body,
        headers: [`Authorization: token ${token}`, `Content-Length: ${Buffer.byteLength(body)}`],
      }),
  }
}
