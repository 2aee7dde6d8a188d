import assert from 'node:assert/strict'
import {
  type Config,
  type ConfigInput,
  describeProblem,
  type LoadOptions,
  loadConfig,
} from '../../hub/config.ts'
import { drivers } from './drivers.ts'

export const dummy = { driver: 'dummy', password: 'x', allowedUsers: ['ada'] }

export async function load(input: unknown, options: Partial<LoadOptions> = {}) {
  return loadConfig(input, drivers, {
    source: 'portico.config.ts',
    folder: '/etc/portico',
    ...options,
  })
}

export async function accepted(
  input: ConfigInput,
  options: Partial<LoadOptions> = {},
): Promise<Config> {
  const loaded = await load(input, options)
  if ('problems' in loaded) assert.fail(loaded.problems.map(describeProblem).join('\n'))
  return loaded.config
}

export async function problems(
  input: unknown,
  options: Partial<LoadOptions> = {},
): Promise<string[]> {
  const loaded = await load(input, options)
  return 'problems' in loaded ? loaded.problems.map(describeProblem) : []
}

/** Fails unless exactly these texts are found, each in its own problem. */
export async function refuses(input: unknown, ...texts: RegExp[]): Promise<void> {
  const found = await problems(input)
  assert.equal(found.length, texts.length, found.join('\n'))
  for (const text of texts)
    assert.ok(
      found.some((line) => text.test(line)),
      `${text} in\n${found.join('\n')}`,
    )
}
