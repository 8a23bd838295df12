import { writeSync } from 'node:fs'
import type { Logger } from 'pino'

const STDERR = 2

/**
 * Ends the process on an error that nobody caught: whatever was cut short may have left memory in a state in
 * which an answer is wrong. Nothing is written, answered or waited for any more, as when the process is
 * killed, which every start is made for; whoever runs the server starts it again. Of the error only what is
 * ours is told: its other properties may hold secrets.
 */
export function endOnUncaught(log: Pick<Logger, 'fatal'>): void {
  process.on('uncaughtException', (error: unknown, origin) => {
    try {
      // Apart from the log, which may be what has failed.
      writeSync(STDERR, `Nobody caught an error, so this process ends: ${messageOf(error)}\n`)
      log.fatal({ err: told(error), origin }, 'Nobody caught an error, so this process ends')
    } finally {
      process.exit(1)
    }
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : typeof error
}

function told(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error }
  return { type: error.name, message: error.message, stack: error.stack }
}
