import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { HubAuthConfig } from '../hub-auth/index.ts'

/** What the app shell needs to know; it becomes `data-` attributes of the page. */
export interface Shell {
  readonly config: HubAuthConfig
  /** Who is looking: the owner or someone it is shared with. */
  readonly viewer: string
  readonly xsrf: string
  /** The host the browser asked for, for old browsers whose `connect-src 'self'` excludes ws:. */
  readonly host: string
  /** Why there is no terminal; empty when there is. */
  readonly terminalProblem: string
}

/** The page of every view; the scripts below `assets/` read the path and show files or terminals. */
export function sendShell(response: ServerResponse, shell: Shell): void {
  const { config, viewer, xsrf, terminalProblem } = shell
  const { servicePrefix: prefix, user, serverName, host, baseUrl } = config
  const title = serverName === '' ? user : `${user} / ${serverName}`
  const data = { prefix, title, viewer, owner: user, xsrf, terminalProblem }
  const attributes = Object.entries(data)
    .map(([name, value]) => `data-${name.toLowerCase()}="${escape(value)}"`)
    .join(' ')
  const body = `<!doctype html>
<html lang="en" ${attributes}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escape(title)}</title>
<link rel="icon" href="${escape(prefix)}assets/icon.svg">
<link rel="stylesheet" href="${escape(prefix)}assets/app.css">
<script type="module" src="${escape(prefix)}assets/app.js"></script>
</head>
<body>
<a class="skip" href="#view">Skip to content</a>
<header class="bar">
<a class="brand" href="${escape(prefix)}tree/"><img src="${escape(prefix)}assets/icon.svg" alt="" width="24" height="24"><span>${escape(title)}</span></a>
<nav class="views" aria-label="Views">
<a href="${escape(prefix)}tree/" data-view="files">Files</a>
<a href="${escape(prefix)}terminals" data-view="terminals">Terminal</a>
</nav>
<nav class="account" aria-label="Account">
<a href="${escape(`${host}${baseUrl}`)}hub/home">Hub home</a>
<a href="${escape(prefix)}logout">Log out</a>
</nav>
</header>
<main id="view" tabindex="-1"><noscript><p class="notice">Files and terminals need JavaScript.</p></noscript></main>
<p id="status" class="status" role="status"></p>
</body>
</html>
`
  sendHtml(response, 200, body, [
    "script-src 'self'",
    // The terminal emulator writes its own style elements.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self'",
    `connect-src 'self'${webSocketSources(shell.host)}`,
  ])
}

export interface Message {
  readonly title: string
  readonly text: string
  readonly links: readonly { readonly href: string; readonly label: string }[]
}

const messageStyle = `
:root{color-scheme:light dark;--ink:#1c2327;--paper:#f6f3ec;--accent:#0b5d66}
@media(prefers-color-scheme:dark){:root{--ink:#ebe8e1;--paper:#11171a;--accent:#7fd1d1}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:34rem;margin:15vh auto 0;padding:0 1.25rem}
h1{font-size:1.5rem;line-height:1.25}
a{color:var(--accent);margin-right:1.25rem}
`
const messageStyleHash = createHash('sha256').update(messageStyle).digest('base64')

/** A page with a text and where to go from it; needs no assets, so that anyone may get it. */
export function sendMessage(response: ServerResponse, status: number, message: Message): void {
  const links = message.links.map(({ href, label }) => `<a href="${escape(href)}">${label}</a>`)
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(message.title)}</title>
<style>${messageStyle}</style>
</head>
<body>
<main>
<h1>${escape(message.title)}</h1>
<p>${escape(message.text)}</p>
<p>${links.join('\n')}</p>
</main>
</body>
</html>
`
  sendHtml(response, status, body, [`style-src 'sha256-${messageStyleHash}'`])
}

function sendHtml(
  response: ServerResponse,
  status: number,
  body: string,
  sources: readonly string[],
): void {
  const fixed = ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
  const policy = ["default-src 'none'", ...sources, ...fixed].join('; ')
  response.setHeader('content-security-policy', policy)
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' })
  response.end(body)
}

function webSocketSources(host: string): string {
  return /^[\w.:[\]-]{1,255}$/.test(host) ? ` ws://${host} wss://${host}` : ''
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '')
}
