import cluster, { type Worker } from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import { AggregatorRegistry } from 'prom-client'
import { steadyClock } from '../steady-clock.ts'
import { uptimeOfMachineMs } from './machine.ts'
import type { FromWorker, ToWorker } from './messages.ts'
import { turnTaker } from './turns.ts'

const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 10_000
const CLOCK_MS = 1000
/** A worker that lived this long did not die of how it was started. */
const SETTLED_MS = 30_000

export interface Supervision {
  workers: number
  /** How long a worker may write without passing the turn on, before it is taken for stopped and killed. */
  patienceMs: number
  /** How long workers may take to end. */
  drainMs: number
}

/**
 * Runs the server in several processes behind one port, and does nothing else: starts them, replaces
 * those that die, hands out turns to write, adds up their figures, ends them. Returns when all listen;
 * ends the process as the first worker does when that cannot start.
 */
export async function supervise({ workers, patienceMs, drainMs }: Supervision): Promise<string> {
  const turns = turnTaker(patienceMs)
  const figures = new AggregatorRegistry()
  const clock = steadyClock()
  setInterval(clock.check, CLOCK_MS).unref()
  let isEnding = false

  function tell(worker: Worker, message: ToWorker): void {
    if (worker.isConnected()) worker.send(message, () => undefined)
  }

  /** Resolves when the worker listens, with its address; `undefined` when it ended before. */
  function start(number: number, failures = 0): Promise<string | undefined> {
    // A worker that starts after the machine's clock was put back must not revive what is over.
    const worker = cluster.fork({
      WORKER_NUMBER: String(number),
      WORKER_CLOCK: String(clock.now() - uptimeOfMachineMs()),
    })
    const startedMs = performance.now()
    const id = String(worker.id)
    return new Promise((resolve) => {
      worker.on('message', (message: FromWorker) => {
        if (message.mintmark === 'ready') resolve(message.url)
        else if (message.mintmark === 'turn-wanted') {
          turns.want(id, {
            grant: () => tell(worker, { mintmark: 'turn' }),
            end: () => worker.process.kill('SIGKILL'),
          })
        } else if (message.mintmark === 'turn-over') turns.over(id)
        else if (message.mintmark === 'metrics-wanted') {
          figures.clusterMetrics().then(
            (text) => tell(worker, { mintmark: 'metrics', id: message.id, text }),
            () => tell(worker, { mintmark: 'metrics', id: message.id, text: undefined }),
          )
        }
      })
      worker.on('error', () => undefined)
      worker.on('exit', (status, signal) => {
        turns.leave(id)
        const hasSettled = performance.now() - startedMs > SETTLED_MS
        resolve(undefined)
        if (!isEnding && hasListened) void replace(number, hasSettled ? 0 : failures + 1)
        else if (!isEnding) process.exit(status ?? (signal === null ? 0 : 1))
      })
    })
  }

  async function replace(number: number, failures: number): Promise<void> {
    process.stderr.write(`Worker ${number} ended and is replaced.\n`)
    await sleep(Math.min(FIRST_PAUSE_MS * 2 ** failures, MAX_PAUSE_MS))
    if (!isEnding) void start(number, failures)
  }

  const living = () => Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)

  function end(): void {
    // The second time, and when it takes too long, by force.
    if (isEnding) force()
    isEnding = true
    for (const worker of living()) worker.process.kill('SIGTERM')
    setTimeout(force, drainMs).unref()
    let worst = 0
    const leave = () => {
      if (living().length === 0) process.exit(worst)
    }
    cluster.on('exit', (_, status, signal) => {
      // One that was still starting ends by the signal itself.
      worst ||= status ?? (signal === 'SIGTERM' ? 0 : 1)
      leave()
    })
    leave()
  }

  function force(): never {
    for (const worker of living()) worker.process.kill('SIGKILL')
    process.exit(1)
  }

  let endingSinceMs = Number.NEGATIVE_INFINITY
  const onSignal = () => {
    // A terminal's Ctrl-C reaches us twice, once through the wrapper that started us.
    const isEcho = performance.now() - endingSinceMs < 500
    endingSinceMs = performance.now()
    if (!isEcho) end()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)

  // The first one makes the database, so that the others find it.
  let hasListened = false
  const url = await start(1)
  hasListened = url !== undefined
  if (url === undefined) return new Promise(() => undefined)
  await Promise.all(Array.from({ length: workers - 1 }, (_, i) => start(i + 2)))
  return url
}
