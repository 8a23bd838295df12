import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { FINISH, type Job, type JobResult } from './load.ts'

/** The process that generates load. */
export interface Loader {
  run(job: Job): Promise<JobResult>
  /** Ends the job under way before its time is over. */
  finish(): void
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
    finish: () => child.send(FINISH),
    stop: () => child.kill(),
  }
}
