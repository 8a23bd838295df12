import type { FastifyBaseLogger } from 'fastify'
import { REST } from './core/batches.ts'
import type { Worker } from './core/jobs/work.ts'

/** How often a node without work looks for some: another node may have stopped in the middle. */
const IDLE_MS = 1000
const FAILED_MS = 5000

export interface JobLoop {
  /** Looks for work now. */
  wake(): void
  /** Resolves once the batch under way is done. */
  stop(): Promise<void>
}

/** Lets a worker go on for as long as the server runs. */
export function keepWorking(worker: Worker, log: Pick<FastifyBaseLogger, 'error'>): JobLoop {
  let isStopped = false
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined

  async function turn(): Promise<void> {
    let pauseMs = IDLE_MS
    try {
      const worked = await worker.step()
      if (worked !== undefined) pauseMs = worked.tookMs * REST
    } catch (err) {
      log.error({ err }, 'A bulk action could not go on')
      pauseMs = FAILED_MS
    }
    running = undefined
    plan(pauseMs)
  }

  function plan(ms: number): void {
    if (isStopped) return
    clearTimeout(timer)
    timer = setTimeout(() => {
      running = turn()
    }, ms)
    timer.unref()
  }

  plan(0)
  return {
    wake() {
      if (running === undefined) plan(0)
    },
    async stop() {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  }
}
