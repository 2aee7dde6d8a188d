import type { ServerName } from '../../packages/client/index.ts'

/** `USER` and `USER/` are the user's default server, `USER/NAME` a named one: no user's name holds a slash. */
export function parseServer(text: string): ServerName {
  const [owner = '', ...name] = text.split('/')
  return { owner, server: name.join('/') }
}

/** What `parseServer` reads back. */
export function showServer({ owner, server }: ServerName): string {
  return server === '' ? owner : `${owner}/${server}`
}
