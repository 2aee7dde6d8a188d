#!/usr/bin/env node
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type Socket, type AddressInfo, isIPv6 } from 'node:net'
import { BadFlag, helpText, readFlags } from './flags.ts'
import { type Log, lineLog } from './log.ts'
import { type RunningProxy, startProxy } from './server.ts'
import type { Bind, ProxySettings } from './settings.ts'

/** JupyterHub kills a proxy of an earlier run about two seconds after it has asked it to end. */
const drainFor = 1_500

await main()

async function main(): Promise<void> {
  try {
    const invocation = readFlags(process.argv.slice(2), process.env)
    if (invocation.kind === 'help') return void process.stdout.write(helpText())
    if (invocation.kind === 'version') return void process.stdout.write(`${version()}\n`)
    await run(invocation.settings)
  } catch (error) {
    if (!(error instanceof BadFlag)) throw error
    process.stderr.write(`portico-proxy: ${error.message}\n`)
    process.exit(1)
  }
}

async function run(settings: ProxySettings): Promise<void> {
  const log = lineLog(settings.logLevel, (line) => process.stdout.write(line))
  if (settings.authToken === null) {
    log.warn('CONFIGPROXY_AUTH_TOKEN is not set: whoever reaches the API can change the routes')
  }
  survive(log)
  const proxy = await start(settings, log)
  writePid(settings.pidFile)
  endOnSignal(proxy, settings, log)
  log.info(`Proxying ${urlOf(proxy.publicAddress)} to ${settings.defaultTarget ?? '(no default)'}`)
  log.info(`Proxy API at ${urlOf(proxy.apiAddress)}/api/routes`)
}

async function start(settings: ProxySettings, log: Log): Promise<RunningProxy> {
  try {
    return await startProxy(settings, log)
  } catch (error) {
    process.stderr.write(`portico-proxy: ${explainListen(error as Error, settings)}\n`)
    return process.exit(1)
  }
}

/** Whatever happens to one request, the table and all other connections stay. */
function survive(log: Log): void {
  process.on('uncaughtException', (error) => log.error(`unexpected: ${error.stack}`))
  process.on('unhandledRejection', (reason) => log.error(`unexpected: ${String(reason)}`))
  for (const stream of [process.stdout, process.stderr] as Socket[]) stream.on('error', () => {})
  // Node would open its debugger; there is nothing to reload yet.
  process.on('SIGUSR1', () => {})
  process.on('SIGHUP', () => log.info('SIGHUP: nothing to reload'))
}

function endOnSignal(proxy: RunningProxy, { pidFile }: ProxySettings, log: Log): void {
  const end = async (signal: string) => {
    log.info(`${signal}: finishing requests`)
    await proxy.close(drainFor)
    if (pidFile !== null) rmSync(pidFile, { force: true })
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void end(signal))
  }
}

function writePid(pidFile: string | null): void {
  if (pidFile === null) return
  try {
    writeFileSync(pidFile, `${process.pid}\n`)
  } catch (error) {
    throw new BadFlag(`--pid-file cannot be written: ${(error as Error).message}`)
  }
}

function explainListen(error: NodeJS.ErrnoException, settings: ProxySettings): string {
  const { port } = error as { port?: number }
  const bind = port === settings.apiBind.port ? settings.apiBind : settings.publicBind
  const at = describe(bind)
  if (error.code === 'EADDRINUSE') return `${at} is in use by another program`
  if (error.code === 'EACCES') return `${at} may not be used by this account`
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return `this machine has no address for ${at}`
  }
  return `cannot listen on ${at}: ${error.message}`
}

function describe({ host, port }: Bind): string {
  return host === null ? `port ${port}` : `${isIPv6(host) ? `[${host}]` : host}:${port}`
}

function urlOf({ address, port }: AddressInfo): string {
  return `http://${describe({ host: address, port })}`
}

/** From the package.json next to us, or one folder up when we run from `dist`. */
function version(): string {
  const candidates = ['../package.json', '../../package.json']
  const file = candidates.map((each) => new URL(each, import.meta.url)).find(existsSync)
  return file ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version : 'unknown'
}
