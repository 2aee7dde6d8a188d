import cluster, { type Worker } from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccessLog } from './access-log.ts'
import { Control } from './control.ts'
import { Front } from './front.ts'
import { type Address, CannotListen, removeAbandoned } from './listeners.ts'
import type { Log } from './log.ts'
import { type MetricSnapshot, Metrics } from './metrics.ts'
import type { RouteChange, Routes } from './routes.ts'
import { ProcessMetrics } from './process-metrics.ts'
import { openRouteFile } from './route-file.ts'
import type { RunningProxy } from './server.ts'
import type { ProxySettings } from './settings.ts'

/** From the main process to a worker. Those with an id are answered. */
type Order =
  | { readonly kind: 'begin'; readonly table: RouteChange; readonly hasTable: boolean }
  | { readonly kind: 'change'; readonly id: number; readonly change: RouteChange }
  | { readonly kind: 'report'; readonly id: number }
  | { readonly kind: 'reload' }
  | { readonly kind: 'close'; readonly grace: number }

/** From a worker to the main process. */
type News =
  /** What is sent before this is lost. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'listening'; readonly address: Address }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'done'; readonly id: number; readonly report?: Report }

interface Report {
  /** Routes that were of use since the last report, with the time in milliseconds. */
  readonly activity: readonly (readonly [path: string, at: number])[]
  readonly metrics: MetricSnapshot
}

/** A worker that has not answered for so long is ended and replaced. A table takes its time besides, for each route. */
const answerWithin = 5_000
const answerWithinPerRoute = 0.2
const longestPause = 5_000
const settledAfter = 10_000

/**
 * Starts `settings.workers` processes that share the public port. This process owns the table, the
 * API and the metrics: a change is answered when every worker has it. A worker that ends is replaced
 * by one with the whole table.
 * @throws {CannotListen}, {BadCertificate}, {BadRouteFile}
 */
export async function startWorkers(settings: ProxySettings, log: Log): Promise<RunningProxy> {
  const metrics = new Metrics()
  // Only for its table and what it reads of certificates: nothing listens in it.
  const { routes, certificates } = new Front({ settings, metrics, accessLog: null, log })
  const file = await openRouteFile(settings, routes, log)
  await removeAbandoned(settings.publicBind)
  const crew = new Crew(settings.workers, routes, log)
  const control = new Control({
    settings,
    routes,
    metrics,
    certificates,
    published: async (change) => {
      await Promise.all([crew.publish(change), file?.append(change)])
    },
    gather: () => crew.gather(),
    log,
  })
  const watching = new AbortController()
  try {
    const publicAddress = await crew.start()
    const apiAddress = await control.listen(publicAddress)
    control.watch(watching.signal)
    const reload = () => {
      control.refresh()
      crew.tell({ kind: 'reload' })
    }
    const close = async (grace: number) => {
      watching.abort()
      // A worker that hangs has no say in how long this takes.
      if (file) await Promise.race([crew.gather(), sleep(grace)])
      await Promise.all([crew.close(grace), control.close(grace)])
      await file?.close()
    }
    return { publicAddress, apiAddress, reload, close }
  } catch (error) {
    await crew.close(0)
    throw error
  }
}

/** Serves the public side in this process until the main process says otherwise. */
export async function runWorker(
  settings: ProxySettings,
  log: Log,
  accessLog: AccessLog | null,
): Promise<void> {
  const { worker } = cluster
  if (!worker) throw new Error('only for the workers of a cluster')
  const metrics = new Metrics()
  // What is read of certificates the main process tells.
  const front = new Front({ settings, metrics, accessLog, log: { ...log, info: () => {} } })
  const watching = new AbortController()
  for (const certificate of front.certificates) certificate.watch(watching.signal)
  const tell = (news: News) => void worker.send(news)
  let reportedAt = 0
  const own = settings.metricsBind && new ProcessMetrics()
  const report = async (): Promise<Report> => {
    const since = reportedAt
    reportedAt = Date.now()
    const activity = activitySince(front.routes, since)
    return { activity, metrics: { ...metrics.snapshot(), ...(await own?.snapshot()) } }
  }
  const begin = async ({ table, hasTable }: Order & { kind: 'begin' }) => {
    if (hasTable) front.routes.apply(table)
    // What came with the table is no activity.
    reportedAt = Date.now() + 1
    tell({ kind: 'listening', address: await front.listen() })
  }
  await new Promise<void>((resolve) => {
    const obey = (order: Order) => {
      if (order.kind === 'begin') {
        begin(order).catch((error: Error) => tell({ kind: 'failed', message: error.message }))
      } else if (order.kind === 'change') {
        void front.routes.take(order.change).then(() => tell({ kind: 'done', id: order.id }))
      } else if (order.kind === 'report') {
        void report().then((given) => tell({ kind: 'done', id: order.id, report: given }))
      } else if (order.kind === 'reload') {
        for (const certificate of front.certificates) certificate.refresh()
        accessLog?.reopen()
      } else {
        watching.abort()
        void front.close(order.grace).then(resolve)
      }
    }
    worker.on('message', obey)
    tell({ kind: 'ready' })
  })
  worker.disconnect()
}

function activitySince(routes: Routes, since: number): [path: string, at: number][] {
  const activity: [string, number][] = []
  for (const [path, { lastActivity }] of routes.all()) {
    if (lastActivity >= since) activity.push([path, lastActivity])
  }
  return activity
}

/** The workers, as the main process sees them. */
class Crew {
  readonly #count: number
  readonly #routes: Routes
  readonly #log: Log
  readonly #workers = new Set<Worker>()
  /** Those that have got the table, and get every change of it. */
  readonly #informed = new Set<Worker>()
  /** Who waits for the answer of which worker. */
  readonly #waiting = new Map<string, (report: Report | null) => void>()
  #id = 0
  #isClosing = false
  #pause = 0

  constructor(count: number, routes: Routes, log: Log) {
    this.#count = count
    this.#routes = routes
    this.#log = log
  }

  /** Resolves with the address when all workers listen. */
  async start(): Promise<Address> {
    const addresses = await Promise.all(Array.from({ length: this.#count }, () => this.#startOne()))
    return addresses[0] ?? ''
  }

  tell(order: Order): void {
    for (const worker of this.#informed) send(worker, order)
  }

  /** Resolves when every worker has applied the change, or is gone. */
  async publish(change: RouteChange): Promise<void> {
    await Promise.all(this.#ask((id) => ({ kind: 'change', id, change })))
  }

  /** Brings the table's activity up to date. Returns what the workers have counted. */
  async gather(): Promise<readonly MetricSnapshot[]> {
    const reports = await Promise.all(this.#ask((id) => ({ kind: 'report', id })))
    const given = reports.filter((report) => report !== null)
    for (const { activity } of given) {
      for (const [path, at] of activity) this.#routes.get(path)?.touch(at)
    }
    return given.map(({ metrics }) => metrics)
  }

  /** Ends all workers, by force when they take longer than `grace` and a little. */
  async close(grace: number): Promise<void> {
    this.#isClosing = true
    const ended = [...this.#workers].map(
      (worker) => new Promise<void>((resolve) => void worker.once('exit', () => resolve())),
    )
    this.tell({ kind: 'close', grace })
    for (const worker of this.#workers) {
      if (!this.#informed.has(worker)) worker.process.kill('SIGKILL')
    }
    const force = setTimeout(() => {
      for (const worker of this.#workers) worker.process.kill('SIGKILL')
    }, grace + 500)
    await Promise.all(ended)
    clearTimeout(force)
  }

  #ask(order: (id: number) => Order): Promise<Report | null>[] {
    const id = (this.#id += 1)
    return [...this.#informed].map((worker) => this.#askOne(worker, id, order(id)))
  }

  #askOne(worker: Worker, id: number, order: Order): Promise<Report | null> {
    const key = `${worker.id}:${id}`
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#log.error(`worker ${worker.process.pid} does not answer: it is replaced`)
        worker.process.kill('SIGKILL')
      }, patienceWith(order))
      this.#waiting.set(key, (report) => {
        clearTimeout(timer)
        this.#waiting.delete(key)
        resolve(report)
      })
      send(worker, order)
    })
  }

  /** Changes that come from now on reach the new worker after its table, in their order. */
  #inform(worker: Worker): void {
    this.#informed.add(worker)
    const { hasTable } = this.#routes
    send(worker, { kind: 'begin', table: this.#routes.toChange(), hasTable })
  }

  #startOne(): Promise<Address> {
    const worker = cluster.fork()
    closeWhatIsLost(worker)
    const startedAt = performance.now()
    this.#workers.add(worker)
    return new Promise((resolve, reject) => {
      worker.on('message', (news: News) => {
        if (news.kind === 'ready') this.#inform(worker)
        else if (news.kind === 'listening') resolve(news.address)
        else if (news.kind === 'failed') {
          reject(new CannotListen(news.message))
          worker.process.kill('SIGKILL')
        } else this.#waiting.get(`${worker.id}:${news.id}`)?.(news.report ?? null)
      })
      worker.once('error', reject)
      worker.once('exit', (code, signal) => {
        reject(new CannotListen(`a worker ended at its start (${signal ?? code})`))
        this.#ended(worker, performance.now() - startedAt)
      })
    })
  }

  #ended(worker: Worker, lived: number): void {
    this.#workers.delete(worker)
    this.#informed.delete(worker)
    for (const [key, resolve] of this.#waiting) {
      if (key.startsWith(`${worker.id}:`)) resolve(null)
    }
    if (this.#isClosing) return
    this.#pause = lived > settledAfter ? 0 : Math.min(longestPause, this.#pause * 2 + 50)
    this.#log.error(`worker ${worker.process.pid} has ended: another one takes its place`)
    void sleep(this.#pause).then(() => {
      if (this.#isClosing) return
      this.#startOne().catch((error: Error) => this.#log.error(error.message))
    })
  }
}

function patienceWith(order: Order): number {
  const isTable = order.kind === 'change' && order.change.kind === 'replace'
  return isTable ? answerWithin + order.change.table.length * answerWithinPerRoute : answerWithin
}

/** What node:cluster tells a worker, as far as it is looked at. */
interface InternalMessage {
  readonly act?: string
  readonly seq?: number
}

/**
 * node:cluster forgets the connection that it was handing to a worker when that worker dies: nobody
 * would ever answer or end it. A worker acknowledges each one that it has got.
 */
function closeWhatIsLost(worker: Worker): void {
  const { process: child } = worker
  const send = child.send.bind(child)
  const handedOver = new Map<number, { close(): void }>()
  child.send = (...sent: unknown[]): boolean => {
    const [{ act, seq }, handle] = sent as [InternalMessage, { close(): void } | undefined]
    if (act === 'newconn' && seq !== undefined && handle) handedOver.set(seq, handle)
    return Reflect.apply(send, child, sent) as boolean
  }
  child.on('internalMessage', ({ ack }: { readonly ack?: number }) => {
    if (ack !== undefined) handedOver.delete(ack)
  })
  worker.once('exit', () => {
    for (const handle of handedOver.values()) handle.close()
    handedOver.clear()
  })
}

/** A worker that is gone has no use for it. */
function send(worker: Worker, order: Order): void {
  if (worker.isConnected()) worker.send(order, () => {})
}
