import type { Subject } from '../subject.ts'

/** A fresh hub on an empty database, each round. */
export const startup: Subject = {
  name: 'startup',
  summary: 'seconds from the start of the command to the first 200 of /hub/health',
  applies: (hub) => hub.startSeconds !== null,
  rounds: (isQuick) => (isQuick ? 1 : 3),
  async measure({ contender, launcher }) {
    const hub = await contender.start(launcher)
    await hub.stop()
    return [{ label: 'first answer of /hub/health', value: hub.startSeconds ?? NaN, unit: 's' }]
  },
}
