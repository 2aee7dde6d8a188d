#!/usr/bin/env node
import cluster from 'node:cluster'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { basename } from 'node:path'
import { AccessLog } from './access-log.ts'
import { BadCertificate } from './certificates.ts'
import { helpText } from './flag-list.ts'
import { BadFlag } from './flag-values.ts'
import { type Invocation, readFlags } from './flags.ts'
import { CannotListen, urlOf } from './listeners.ts'
import { type Log, lineLog } from './log.ts'
import { BadRouteFile } from './route-file.ts'
import { type RunningProxy, startProxy } from './server.ts'
import type { ProxySettings } from './settings.ts'
import { BadBackend } from './storage-backend.ts'
import { runWorker, startWorkers } from './workers.ts'

/** What can be mended by whoever has started us. */
const mendable = [BadFlag, BadCertificate, BadBackend, CannotListen, BadRouteFile]

await main()

async function main(): Promise<void> {
  try {
    const invocation = readFlags(process.argv.slice(2), process.env)
    if (invocation.kind === 'help') return void process.stdout.write(helpText())
    if (invocation.kind === 'version') return void process.stdout.write(`${version()}\n`)
    await (cluster.isWorker ? work(invocation.settings) : run(invocation))
  } catch (error) {
    if (!mendable.some((kind) => error instanceof kind)) throw error
    process.stderr.write(`portico-proxy: ${(error as Error).message}\n`)
    process.exit(1)
  }
}

async function run({ settings, warnings }: Invocation & { kind: 'run' }): Promise<void> {
  const log = logOf(settings)
  if (settings.authToken === null) {
    log.warn('CONFIGPROXY_AUTH_TOKEN is not set: whoever reaches the API can change the routes')
  }
  for (const warning of warnings) log.warn(warning)
  survive(log)
  const proxy = await start(settings, log)
  writePid(settings.pidFile)
  obeySignals(proxy, settings, log)
  const { publicAddress, apiAddress } = proxy
  const publicUrl = urlOf(publicAddress, settings.publicTls !== null)
  log.info(`Proxying ${publicUrl} to ${settings.defaultTarget ?? '(no default)'}`)
  log.info(`Proxy API at ${urlOf(apiAddress, settings.apiTls !== null)}/api/routes`)
}

function start(settings: ProxySettings, log: Log): Promise<RunningProxy> {
  const accessLog = accessLogOf(settings, log)
  if (settings.workers === 1) return startProxy(settings, log, accessLog)
  accessLog?.close()
  return startWorkers(settings, log)
}

/** Serves the public side for the main process, whose signals count: it tells us when to end. */
async function work(settings: ProxySettings): Promise<void> {
  const log = logOf(settings)
  survive(log)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
  await runWorker(settings, log, accessLogOf(settings, log))
  process.exit(0)
}

function logOf({ logLevel }: ProxySettings): Log {
  return lineLog(logLevel, (line) => process.stdout.write(line))
}

function accessLogOf({ accessLog }: ProxySettings, log: Log): AccessLog | null {
  if (accessLog === null) return null
  try {
    return new AccessLog(accessLog, process.stdout, ({ message }) =>
      log.error(`--access-log: ${message}`),
    )
  } catch (error) {
    throw new BadFlag(`--access-log cannot be written: ${(error as Error).message}`)
  }
}

/** Whatever happens to one request, the table and all other connections stay. */
function survive(log: Log): void {
  process.on('uncaughtException', (error) => log.error(`unexpected: ${error.stack}`))
  process.on('unhandledRejection', (reason) => log.error(`unexpected: ${String(reason)}`))
  for (const stream of [process.stdout, process.stderr] as Socket[]) stream.on('error', () => {})
  // Node would open its debugger.
  process.on('SIGUSR1', () => {})
}

function obeySignals(proxy: RunningProxy, settings: ProxySettings, log: Log): void {
  const { pidFile, drainTimeout } = settings
  let isEnding = false
  const exit = () => {
    if (pidFile !== null) rmSync(pidFile, { force: true })
    process.exit(0)
  }
  const end = (signal: string) => {
    isEnding = true
    log.info(`${signal}: finishing requests`)
    void proxy.close(drainTimeout).then(exit)
  }
  // JupyterHub asks a proxy of an earlier run twice, and a person at a terminal means it.
  process.on('SIGTERM', () => void (isEnding || end('SIGTERM')))
  process.on('SIGINT', () => (isEnding ? exit() : end('SIGINT')))
  process.on('SIGHUP', () => {
    log.info('SIGHUP: reading certificates again')
    proxy.reload()
  })
}

function writePid(pidFile: string | null): void {
  if (pidFile === null) return
  try {
    writeFileSync(pidFile, `${process.pid}\n`)
  } catch (error) {
    throw new BadFlag(`--pid-file cannot be written: ${(error as Error).message}`)
  }
}

/** Under the name of configurable-http-proxy its version, which scripts look at; else ours. */
function version(): string {
  if (basename(process.argv[1] ?? '') === 'configurable-http-proxy') return '5.3.0'
  const candidates = ['../package.json', '../../package.json']
  const file = candidates.map((each) => new URL(each, import.meta.url)).find(existsSync)
  return file ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version : 'unknown'
}
