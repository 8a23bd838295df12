import cluster from 'node:cluster'
import { AggregatorRegistry, type Registry } from 'prom-client'
import { CoreError } from '../core/errors.ts'
import { uptimeOfMachineMs } from './machine.ts'
import type { FromWorker, ToWorker } from './messages.ts'

/** How long a change waits for its turn to write. */
const TURN_MS = 10_000
/** Longer than prom-client waits for a worker that does not answer. */
const METRICS_MS = 6000

export interface WorkerEnd {
  /** Counted from 1, and kept by whoever takes the place of one that died. */
  number: number
  /** Tells the supervisor that this worker listens. */
  ready(url: string): void
  inTurn<T>(work: () => Promise<T>): Promise<T>
  /** The time now, by the clock of the supervisor. */
  nowMs: number
  gatherMetrics(registry: Registry): () => Promise<string>
}

/** The worker's end of the line to its supervisor. Undefined: this process is no worker. */
export function workerEnd(): WorkerEnd | undefined {
  if (!cluster.isWorker) return undefined
  const tell = (message: FromWorker) => process.send?.(message)
  const figures = new Map<number, (text: string | undefined) => void>()
  let turn: PromiseWithResolvers<void> | undefined
  let asked = 0

  process.on('message', (message: ToWorker) => {
    if (message.mintmark === 'turn') {
      // Nobody waits for it any more: pass it on.
      if (turn === undefined) tell({ mintmark: 'turn-over' })
      else turn.resolve()
    } else if (message.mintmark === 'metrics') {
      figures.get(message.id)?.(message.text)
      figures.delete(message.id)
    }
  })
  // Nobody would hand out turns, or see to it that a second server does not start.
  process.on('disconnect', () => process.exit(1))

  return {
    number: Number(process.env.WORKER_NUMBER),
    nowMs: Number(process.env.WORKER_CLOCK) + uptimeOfMachineMs(),
    ready: (url) => tell({ mintmark: 'ready', url }),
    async inTurn(work) {
      turn = Promise.withResolvers()
      const timer = setTimeout(() => turn?.reject(late()), TURN_MS)
      tell({ mintmark: 'turn-wanted' })
      try {
        await turn.promise
      } finally {
        clearTimeout(timer)
        turn = undefined
      }
      try {
        return await work()
      } finally {
        tell({ mintmark: 'turn-over' })
      }
    },
    gatherMetrics(registry) {
      // Lets it answer the supervisor for this process.
      new AggregatorRegistry()
      AggregatorRegistry.setRegistries([registry])
      return async () => {
        const id = ++asked
        const answer = new Promise<string | undefined>((resolve) => {
          figures.set(id, resolve)
          setTimeout(() => {
            figures.delete(id)
            resolve(undefined)
          }, METRICS_MS).unref()
        })
        tell({ mintmark: 'metrics-wanted', id })
        const text = await answer
        if (text === undefined) throw silent()
        return text
      }
    },
  }
}

function late(): CoreError {
  return new CoreError(
    'unavailable',
    'Nothing was changed: too many changes are waiting. Try again.',
    {
      retryAfterSeconds: 2,
    },
  )
}

function silent(): CoreError {
  return new CoreError('unavailable', 'One of the worker processes does not tell its figures.', {
    retryAfterSeconds: 5,
  })
}
