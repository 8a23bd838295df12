import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Job, JobResult } from './load.ts'

/** The process that generates load. */
export interface Loader {
  run(job: Job): Promise<JobResult>
  stop(): void
}

export function startLoader(): Loader {
  const child = fork(fileURLToPath(new URL('load.ts', import.meta.url)))
  return {
    run: (job) =>
      new Promise((resolve, reject) => {
        child.once('message', (message: JobResult | { error: string }) => {
          if ('error' in message) reject(new Error(message.error))
          else resolve(message)
        })
        child.send(job)
      }),
    stop: () => child.kill(),
  }
}
