import type { DestinationStream } from 'pino'

/** More text than this is not held back. */
const MAX_HELD_LENGTH = 65_536

export interface LineStream extends DestinationStream {
  /** Writes what is held back; call it before the process ends. */
  flushSync(): void
}

/**
 * Hands on the lines of one turn of the event loop with one write: under load the system call per line
 * costs more than all the rest of logging. A process that is killed loses the lines of its last turn, and
 * with them only requests that it answered in that turn.
 */
export function linesByTurn(target: DestinationStream): LineStream {
  let held = ''
  const flushSync = () => {
    if (held === '') return
    const lines = held
    held = ''
    target.write(lines)
  }
  return {
    write(line) {
      if (held === '') setImmediate(flushSync)
      held += line
      if (held.length > MAX_HELD_LENGTH) flushSync()
    },
    flushSync,
  }
}
