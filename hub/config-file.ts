import { existsSync, statSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { BuildFailure, Plugin } from 'esbuild'
import { HubError } from '../packages/core/errors.ts'
import { findSecret } from './config/redact.ts'
import type { Problem } from './config.ts'

const names = ['ts', 'js', 'mjs', 'json'].map((extension) => `portico.config.${extension}`)

/**
 * The config file: the one named, else the one in `folder`, else null.
 * @throws {HubError} `invalid_request` when the one named is missing or `folder` holds several.
 */
export function findConfigFile(folder: string, named?: string): string | null {
  if (named !== undefined) {
    const file = resolve(folder, named)
    if (existsSync(file)) return file
    throw new HubError('invalid_request', `${file}: there is no such config file`)
  }
  const [file, second] = names.map((name) => join(folder, name)).filter((path) => existsSync(path))
  if (file !== undefined && second !== undefined) {
    throw new HubError('invalid_request', `${file} and ${second}: name one of them with --config`)
  }
  return file ?? null
}

/**
 * What a config file exports by default, as written. TypeScript is transformed and `portico/...`
 * is the running installation, wherever the file lies; relative imports and packages work as usual.
 * @throws {HubError} `invalid_request` with file, line and column when it cannot be read or run.
 */
export async function readConfigFile(file: string): Promise<unknown> {
  const exported = await importModule(file)
  if ('default' in exported) return exported['default']
  throw new HubError(
    'invalid_request',
    `${file}: has no default export: write 'export default defineConfig({ ... })'`,
  )
}

/** Loads one module outside the installation, like a config file or a driver. */
export async function importModule(file: string): Promise<Record<string, unknown>> {
  const folder = await mkdtemp(join(tmpdir(), 'portico-config-'))
  try {
    const output = join(folder, 'module.mjs')
    await writeFile(output, await transform(file, output), { mode: 0o600 })
    return await evaluate(file, output)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Warns of secrets in a config file that others may read. Security checklist A2-32. */
export function fileWarnings(file: string, input: unknown): readonly Problem[] {
  const secret = findSecret(input)
  if (secret === null || (statSync(file).mode & 0o077) === 0) return []
  const message = `is a secret in a file that others may read: 'chmod 600 ${file}' (rule A2-32)`
  return [{ path: secret, message, source: file }]
}

async function transform(file: string, output: string): Promise<string> {
  const { build, stop } = await import('esbuild')
  try {
    const { outputFiles } = await build({
      entryPoints: [file],
      outfile: output,
      write: false,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: 'inline',
      sourcesContent: false,
      logLevel: 'silent',
      define: {
        'import.meta.url': JSON.stringify(pathToFileURL(file).href),
        'import.meta.dirname': JSON.stringify(dirname(file)),
        'import.meta.filename': JSON.stringify(file),
      },
      plugins: [outsidePackages],
    })
    return outputFiles[0]?.text ?? ''
  } catch (error) {
    throw new HubError('invalid_request', describeFailure(file, error as BuildFailure))
  } finally {
    await stop()
  }
}

function describeFailure(file: string, { errors, message }: BuildFailure): string {
  const [first] = errors ?? []
  if (!first) return `${file}: ${message}`
  const place = first.location
  if (!place) return `${file}: ${first.text}`
  return `${resolve(place.file)}:${place.line}:${place.column + 1}: ${first.text}`
}

/**
 * Leaves packages out of the bundle, by absolute url, since the result lies elsewhere. `portico/...`
 * is always ours; `zod`, which drivers need, is ours where the config's folder has none.
 */
const outsidePackages: Plugin = {
  name: 'outside-packages',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, async ({ path, pluginData, ...from }) => {
      if (pluginData === 'resolving' || from.kind === 'entry-point' || path.startsWith('node:')) {
        return null
      }
      if (path === 'portico' || path.startsWith('portico/')) return ours(path)
      const found = await build.resolve(path, { ...from, pluginData: 'resolving' })
      if (found.errors.length > 0 && path === 'zod') return ours(path)
      if (found.errors.length > 0 || found.external) return found
      return { path: pathToFileURL(found.path).href, external: true }
    })
  },
}

function ours(path: string) {
  try {
    return { path: import.meta.resolve(path), external: true }
  } catch {
    return { errors: [{ text: `Portico has no '${path}'` }] }
  }
}

async function evaluate(file: string, output: string): Promise<Record<string, unknown>> {
  process.setSourceMapsEnabled(true)
  try {
    return (await import(pathToFileURL(output).href)) as Record<string, unknown>
  } catch (cause) {
    const place = cause instanceof Error ? placeIn(file, cause.stack ?? '') : file
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HubError('invalid_request', `${place}: ${reason}`)
  } finally {
    process.setSourceMapsEnabled(false)
  }
}

/** `file:line:column` of the topmost stack frame in `file`. */
function placeIn(file: string, stack: string): string {
  const line = stack.split('\n').find((candidate) => candidate.includes(`${file}:`))
  const [, place] = /:(\d+:\d+)\)?$/.exec(line ?? '') ?? []
  return place === undefined ? file : `${file}:${place}`
}
