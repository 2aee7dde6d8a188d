import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { ClientError } from '../../packages/client/index.ts'
import { BenchError } from './contender.ts'
import { helpText, readOptions } from './options.ts'
import { goalLines } from './proxies/goals.ts'
import { table } from './report.ts'
import { runBench } from './run.ts'
import { subjects } from './subjects/index.ts'

/** Longest time that a run may take, in ms. */
const limit = { quick: 300_000, usual: 600_000, full: 3_600_000 }

process.exitCode = await main().catch((error: unknown) => {
  if (!(error instanceof BenchError || error instanceof ClientError)) throw error
  console.error(`bench: ${error.message}`)
  return 1
})

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), process.env, subjects)
  if (!options) {
    console.log(helpText(subjects))
    return 0
  }
  const end = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => end.abort(`stopped by ${signal}`))
  const alone = options.withProxies ? 2 : 1
  const length = options.isFull ? 'full' : options.isQuick ? 'quick' : 'usual'
  const most = limit[length] * alone
  const timer = setTimeout(() => end.abort(`not done within ${most / 1000} s`), most).unref()
  const note = (line: string): void => console.error(`bench: ${line}`)
  const { hubs, proxies } = await runBench(options, note, end.signal)
  clearTimeout(timer)
  for (const run of [hubs, proxies]) if (run) console.log(table(run.rows, run.contenders))
  if (proxies) console.log(`\n${goalLines(proxies.rows)}`)
  if (options.jsonFile !== null) {
    const machine = { node: process.version, cpus: cpus().length }
    const content = { at: new Date().toISOString(), machine, ...hubs, proxies }
    writeFileSync(options.jsonFile, `${JSON.stringify(content, null, 2)}\n`)
  }
  return 0
}
