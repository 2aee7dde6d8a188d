import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { packageRoot } from '../../packages/process/index.ts'
import { makeSite, portico, type Program, type Site, startPortico } from './portico-program.ts'
import { until } from './until.ts'

/**
 * Checks the config of an example, starts it on free ports with data of its own, and waits for its
 * first answer. `flags` replace what is only true elsewhere (`--set=section.option=value`),
 * perhaps by what follows from the example's url.
 */
export async function startExample(
  t: TestContext,
  name: string,
  ...flags: readonly (string | ((url: string) => Promise<readonly string[]>))[]
): Promise<Site & { readonly program: Program }> {
  const site = await makeSite(t)
  const all = await Promise.all(
    flags.map(async (flag) => (typeof flag === 'string' ? [flag] : flag(site.url))),
  )
  const config = `--config=${join(packageRoot(), 'examples', name, 'portico.config.ts')}`
  const checked = await portico(site, 'config', 'check', config)
  assert.equal(checked.code, 0, checked.err)
  const program = await startPortico(site, 'start', config, ...all.flat())
  await until(
    'the example answers',
    async () => {
      const answer = await fetch(`${site.url}/hub/health`).catch(() => null)
      await answer?.body?.cancel()
      return answer?.status === 200
    },
    60_000,
  )
  return { ...site, program }
}
