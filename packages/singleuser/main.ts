#!/usr/bin/env node
import { describeError } from '../core/errors.ts'
import { packageVersion } from './assets.ts'
import { singleUserFromEnv } from './config.ts'
import { startSingleUser } from './server.ts'

const usage = `usage: portico-singleuser [--allow-root]

The embedded single-user server: files and a terminal in the browser. A hub starts it and tells it
everything through JUPYTERHUB_* variables; it is of no use when started by hand.

  --allow-root   run although the account is root
  --version      print the version
  --help         print this`

const log = (line: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}

function fail(message: string): never {
  log(message)
  process.exit(1)
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) return console.log(usage)
  if (args.includes('--version')) return console.log(packageVersion)
  const unknown = args.filter((argument) => argument !== '--allow-root')
  if (unknown.length > 0) log(`ignored: ${unknown.join(' ')} (see --help)`)
  if (process.getuid?.() === 0 && !args.includes('--allow-root')) {
    fail('refusing to run as root: everyone let in would be root here; --allow-root overrides')
  }
  const config = singleUserFromEnv(process.env, process.cwd())
  const server = await startSingleUser(config, log)
  const stop = (signal: NodeJS.Signals): void => {
    log(`${signal}: closing terminals and leaving`)
    setTimeout(() => process.exit(0), 1500).unref()
    void server[Symbol.asyncDispose]().then(
      () => process.exit(0),
      () => process.exit(0),
    )
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, stop)
  // A fault in one request must not end the terminals of all others.
  process.on('uncaughtException', (error) => log(`unexpected: ${error.stack ?? error.message}`))
  process.on('unhandledRejection', (error) => log(`unexpected: ${describeError(error)}`))
  await server.hubChecked.catch((error: unknown) => fail(describeError(error)))
}

await main(process.argv.slice(2)).catch((error: unknown) => fail(describeError(error)))
