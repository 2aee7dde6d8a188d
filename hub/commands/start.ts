import { HubError } from '../../packages/core/errors.ts'
import { type Config, describeProblem } from '../config.ts'
import { prepareDataDir } from '../data-dir.ts'
import { loadSecrets } from '../secrets.ts'
import type { Command, CommandContext, RunningHub, StopSignal } from './command.ts'
import { loadSite, overrideFlags, type Site } from './site.ts'

export const start: Command = {
  name: 'start',
  summary: 'Run the hub and its proxy. Without a config file: a quick start.',
  details:
    'A quick start is for the account that starts it, on this machine only, and ends with Ctrl-C.',
  flags: overrideFlags,
  examples: ['start', 'start --port 9000', 'start --config /etc/portico/portico.config.ts'],
  run,
}

async function run(context: CommandContext): Promise<number> {
  const site = await loadSite(context)
  if ('problems' in site) {
    for (const problem of site.problems) context.warn(describeProblem(problem))
    return 1
  }
  for (const warning of site.warnings) context.warn(`Warning: ${describeProblem(warning)}`)
  const { driver, options } = site.config.spawner
  driver.check?.(options)
  const dataDir = prepareDataDir(site.dataDir)
  const secrets = loadSecrets({ dataDir, env: context.env, services: site.config.services })
  const signals = stopSignals(context)
  const { startHub } = await context.hub()
  const hub = await startHub({
    config: site.config,
    secrets,
    dataDir,
    env: keptVariables(site.config, context.env),
    quickStart: site.file === null,
    version: context.version,
    ...metricsPrefix(context.env),
    ready: (info) => announce(context, site, info),
  })
  void signals.next().then((signal) => stopOn(signal, hub, site, context, signals))
  const { reason } = await hub.stopped
  context.print(`Portico has stopped: ${reason}`)
  return 0
}

/** JupyterHub's variable. https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels */
function metricsPrefix(env: CommandContext['env']): { readonly metricsPrefix?: string } {
  const { JUPYTERHUB_METRICS_PREFIX: prefix } = env
  if (!prefix) return {}
  if (/^[A-Za-z_:][\w:]*$/.test(prefix)) return { metricsPrefix: prefix }
  throw new HubError(
    'invalid_request',
    'JUPYTERHUB_METRICS_PREFIX must be letters, digits and underscores, as in jupyterhub',
  )
}

/** PATH, locale and time zone, and what `spawner.envKeep` names. Everything else stays here. */
function keptVariables(
  { spawner }: Config,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const names = ['PATH', 'LANG', 'LANGUAGE', 'LC_ALL', 'LC_CTYPE', 'TZ', ...spawner.base.envKeep]
  return Object.fromEntries(
    names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  )
}

interface Signals {
  /** The next signal that nobody has waited for yet, also one that came earlier. */
  next(): Promise<StopSignal>
}

function stopSignals(context: CommandContext): Signals {
  const arrived: StopSignal[] = []
  const waiting: ((signal: StopSignal) => void)[] = []
  context.onStopSignal((signal) => {
    const waiter = waiting.shift()
    if (waiter) waiter(signal)
    else arrived.push(signal)
  })
  return {
    next() {
      const early = arrived.shift()
      return early === undefined
        ? new Promise((resolve) => waiting.push(resolve))
        : Promise.resolve(early)
    },
  }
}

async function stopOn(
  signal: StopSignal,
  hub: RunningHub,
  site: Site,
  context: CommandContext,
  signals: Signals,
): Promise<void> {
  const { cleanupServers: servers, cleanupProxy: proxy } = site.config.hub
  context.print(servers ? 'Stopping everything; once more to hurry' : 'Stopping the hub')
  void signals.next().then(() => hub.stop({ servers, proxy, now: true }))
  const { runningServers, proxyRuns } = await hub.stop({ servers, proxy })
  const rest = [
    ...(proxyRuns ? ['the proxy'] : []),
    ...(runningServers > 0 ? [`${runningServers} server${runningServers === 1 ? '' : 's'}`] : []),
  ]
  if (signal === 'SIGTERM' || rest.length === 0) return
  const still = `Still running: ${rest.join(' and ')}.`
  context.print(`${still} '${context.invocation} stop --all' ends them.`)
}

function announce(
  context: CommandContext,
  site: Site,
  info: { readonly url: string; readonly loginLink: string | null },
): void {
  const { print, invocation } = context
  print(`Portico ${context.version} runs at ${info.url}`)
  if (site.file !== null) return
  print('')
  if (info.loginLink !== null) {
    print('Log in with this link, once, within 10 minutes:')
    print('')
    print(`    ${info.loginLink}`)
    print('')
  }
  const { userName, isRoot } = context.account
  print(
    `This is a quick start: for '${userName}' on this machine only, with the embedded server (files`,
  )
  print('and a terminal). Ctrl-C stops everything.')
  if (isRoot) print('Warning: you are root, and so is everything done in the browser.')
  print('')
  print(`Another link:          ${invocation} login-link`)
  print(`Write a real config:   ${invocation} config init`)
}
