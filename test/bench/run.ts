import { type BenchHub, BenchError, type Contender } from './contender.ts'
import { jupyterhub, whyNoJupyterhub } from './hubs/jupyterhub.ts'
import { portico } from './hubs/portico.ts'
import { remote } from './hubs/remote.ts'
import { createLauncher, type Launcher } from './launcher.ts'
import { type LoadGenerator, startLoadGenerator } from './load.ts'
import type { BenchOptions } from './options.ts'
import { measureProxies } from './proxies/run.ts'
import { type Row, rowsOf } from './report.ts'
import type { Figure, Subject } from './subject.ts'

interface Tools {
  readonly load: LoadGenerator
  readonly launcher: Launcher
}

export interface BenchRun {
  readonly contenders: readonly string[]
  readonly rows: readonly Row[]
}

/** Hubs and proxies have peers of their own. */
export interface BenchRuns {
  readonly hubs: BenchRun | null
  readonly proxies: BenchRun | null
}

/**
 * Measures everything that was asked for. Whatever happens, all that it started has ended when the
 * promise settles. `note` gets lines about what goes on.
 * @throws {BenchError} also when `signal` aborts.
 */
export async function runBench(
  options: BenchOptions,
  note: (line: string) => void,
  signal: AbortSignal,
): Promise<BenchRuns> {
  const load = startLoadGenerator()
  const launcher = createLauncher()
  const given = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new BenchError(String(signal.reason))))
  })
  try {
    return await Promise.race([given, measureBoth(options, { load, launcher }, note, signal)])
  } finally {
    await Promise.all([load.stop(), launcher.close()])
  }
}

async function measureBoth(
  options: BenchOptions,
  tools: Tools,
  note: (line: string) => void,
  signal: AbortSignal,
): Promise<BenchRuns> {
  const { subjects, withProxies, isQuick } = options
  const hubs =
    subjects.length === 0
      ? null
      : await measureAll(options, contendersOf(options, note), tools, note)
  const proxies = withProxies ? await measureProxies(tools.launcher, isQuick, note, signal) : null
  return { hubs, proxies }
}

function contendersOf(
  { remote: wanted, peer }: BenchOptions,
  note: (line: string) => void,
): readonly Contender[] {
  const ours = wanted ? remote(wanted) : portico
  if (peer === 'none') return [ours]
  const why = whyNoJupyterhub()
  if (why === null) return [ours, jupyterhub]
  if (peer === 'jupyterhub') throw new BenchError(why)
  note(`Without a peer. ${why}.`)
  return [ours]
}

async function measureAll(
  { subjects, isQuick, isFull }: BenchOptions,
  contenders: readonly Contender[],
  tools: Tools,
  note: (line: string) => void,
): Promise<BenchRun> {
  const hubs: (readonly [Contender, BenchHub])[] = []
  for (const contender of contenders) {
    note(`starting ${contender.name}`)
    hubs.push([contender, await contender.start(tools.launcher)])
  }
  const names = contenders.map(({ name }) => name)
  const rows: Row[] = []
  for (const subject of subjects) {
    if (!hubs.some(([, hub]) => subject.applies(hub))) {
      note(`not measured: ${subject.name}, which needs a hub of our own`)
      continue
    }
    note(`measuring ${subject.name}`)
    rows.push(...(await measureSubject(subject, hubs, { ...tools, isQuick, isFull })))
  }
  return { contenders: names, rows }
}

async function measureSubject(
  subject: Subject,
  hubs: readonly (readonly [Contender, BenchHub])[],
  tools: Tools & Pick<BenchOptions, 'isQuick' | 'isFull'>,
): Promise<readonly Row[]> {
  const rounds = new Map<string, (readonly Figure[])[]>()
  for (let round = 0; round < subject.rounds(tools.isQuick); round += 1)
    for (const [contender, hub] of hubs.filter(([, each]) => subject.applies(each))) {
      const figures = await subject.measure({ hub, contender, ...tools })
      rounds.set(contender.name, [...(rounds.get(contender.name) ?? []), figures])
    }
  return rowsOf(
    subject.name,
    hubs.map(([{ name }]) => name),
    rounds,
  )
}
