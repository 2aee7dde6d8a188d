/** A promise and what settles it: `Promise.withResolvers`, which Node has from version 22 on. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

export function deferred<T>(): Deferred<T> {
  let settle: (value: T) => void = () => {}
  const promise = new Promise<T>((resolve) => {
    settle = resolve
  })
  return { promise, resolve: (value) => settle(value) }
}

/** Resolves after so many ms. Does not keep the process alive. */
export function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}

/** Whether `work` is fulfilled within `ms`; rejects when it does. */
export async function endsWithin(ms: number, work: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([work.then(() => 'done' as const), after(ms)])) === 'done'
}

/** What `work` comes to. Rejects after `ms`, saying what took so long. */
export async function within<T>(ms: number, work: T | Promise<T>, what: string): Promise<T> {
  const late = after(ms).then(() => {
    throw new Error(`${what} took longer than ${ms / 1000} seconds`)
  })
  late.catch(() => {})
  return Promise.race([work, late])
}
