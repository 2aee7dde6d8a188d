import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves with the first truthy answer; rejects with `what` when there is none within `ms`. */
export async function until<T>(
  what: string,
  answer: () => T | Promise<T>,
  ms = 10_000,
): Promise<Exclude<T, null | undefined | false | '' | 0>> {
  const deadline = performance.now() + ms
  for (;;) {
    const value = await answer()
    if (value) return value as Exclude<T, null | undefined | false | '' | 0>
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await sleep(10)
  }
}
