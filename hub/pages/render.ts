import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import nunjucks from 'nunjucks'
import { packageRoot } from '../../packages/process/index.ts'

interface RendererOptions {
  /** A site's own template folders, searched before ours in this order. */
  readonly templatePaths?: readonly string[]
  /** Views that are no files, by name. */
  readonly inline?: Readonly<Record<string, string>>
  /**
   * What every page may use. `baseUrl` (the hub's prefix, ending in `/`) is needed; `staticUrl`
   * is supplied when absent.
   */
  readonly globals: Record<string, unknown>
}

/**
 * Turns a view and its data into HTML. `view` is a name in `hub/pages/views`, with or without
 * `.njk`; a bare status such as `503` falls back to `error`, so that a site may add a page for it.
 * Throws when the view is missing or wrong. Everything in `data` is escaped.
 */
export type Render = (view: string, data: object) => string

/**
 * Makes the one renderer of a hub. Views are compiled at their first use and kept; a change on
 * disk needs a restart. A site's view replaces ours of the same name and may extend it as
 * `templates/NAME.njk`, like JupyterHub's:
 * https://jupyterhub.readthedocs.io/en/stable/howto/templates.html
 */
export function createRenderer({
  templatePaths = [],
  inline = {},
  globals,
}: RendererOptions): Render {
  const pages = join(packageRoot(), 'hub', 'pages')
  const views = join(pages, 'views')
  const folders = [...templatePaths, views]
  const environment = new nunjucks.Environment(viewLoader(folders, views, inline), {
    autoescape: true,
    throwOnUndefined: false,
    trimBlocks: true,
    lstripBlocks: true,
  })
  addFilters(environment)
  const staticUrl = versionedUrls(join(pages, 'assets'), `${String(globals['baseUrl'])}static/`)
  for (const [name, value] of Object.entries({ staticUrl, ...globals })) {
    environment.addGlobal(name, value)
  }
  return (view, data) =>
    environment
      .render(fileOf(view, folders), { now: new Date().toISOString(), ...data })
      .trimStart()
}

/** `templates/NAME` is always our own view, whatever a site has put over NAME. */
function viewLoader(
  folders: readonly string[],
  ownFolder: string,
  inline: Readonly<Record<string, string>>,
): nunjucks.ILoader {
  const all = new nunjucks.FileSystemLoader([...folders])
  const own = new nunjucks.FileSystemLoader(ownFolder)
  const prefix = 'templates/'
  return {
    getSource(name) {
      const src = inline[name]
      if (src !== undefined) return { src, path: name, noCache: false }
      return name.startsWith(prefix)
        ? own.getSource(name.slice(prefix.length))
        : all.getSource(name)
    },
  }
}

function fileOf(view: string, folders: readonly string[]): string {
  const file = view.endsWith('.njk') ? view : `${view}.njk`
  if (!/^\d{3}\.njk$/.test(file)) return file
  return folders.some((folder) => existsSync(join(folder, file))) ? file : 'error.njk'
}

function addFilters(environment: nunjucks.Environment): void {
  environment.addFilter('isodate', isoDate)
  environment.addFilter('json', attributeJson)
  environment.addFilter('safeurl', safeUrl)
  environment.addFilter('called', called)
  environment.addFilter('sentence', sentence)
}

/** `2026-11-22 01:06 UTC`; empty for what is no date. */
function isoDate(value: unknown): string {
  if (value === null || value === undefined) return ''
  const date = new Date(value as string | number | Date)
  if (Number.isNaN(date.getTime())) return ''
  return `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** JSON that is also harmless where a template marks it `safe`, but for its double quotes. */
function attributeJson(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  return text.replace(/[<>&']/g, (character) => {
    return `\\u00${character.charCodeAt(0).toString(16)}`
  })
}

/** The url if it is relative or http(s), otherwise `#`: keeps `javascript:` out of links. */
function safeUrl(value: unknown): string {
  const url = typeof value === 'string' ? value : ''
  if (!URL.canParse(url, 'http://relative.invalid')) return '#'
  return /^https?:$/.test(new URL(url, 'http://relative.invalid').protocol) ? url : '#'
}

/** "your server", or whose and which it is. */
function called(server: { name?: string; displayName?: string } | undefined, user?: string) {
  const whose = user ? `${user}’s` : 'your'
  const name = server?.name ? ` “${server.displayName || server.name}”` : ''
  return `${whose} server${name}`
}

/** The text with a capital at its beginning and a full stop at its end. */
function sentence(value: unknown): string {
  const text = typeof value === 'string' ? value : ''
  const begun = text.charAt(0).toUpperCase() + text.slice(1)
  return begun === '' || /[.!?:]$/.test(begun) ? begun : `${begun}.`
}

/** Urls of assets that change with their content, so that browsers may keep them for ever. */
function versionedUrls(folder: string, base: string): (path: string) => string {
  const urls = new Map<string, string>()
  return (path) => {
    const url = urls.get(path) ?? `${base}${path}${versionOf(join(folder, path))}`
    urls.set(path, url)
    return url
  }
}

function versionOf(file: string): string {
  if (!existsSync(file)) return ''
  return `?v=${createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 12)}`
}
