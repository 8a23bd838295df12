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
 * with them only requests that it answered in that turn. `atomic`: other processes write to the same
 * pipe, which keeps apart no more than so many bytes at once.
 */
export function linesByTurn(
  target: DestinationStream,
  { atomic = false }: { atomic?: boolean } = {},
): LineStream {
  let held = ''
  const flushSync = () => {
    if (held === '') return
    const lines = held
    held = ''
    if (!atomic) target.write(lines)
    else for (const piece of pieces(lines)) target.write(piece)
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

/** POSIX lets no other writer of a pipe in between (PIPE_BUF on Linux). */
const PIPE_BYTES = 4096

/** Whole lines, as many as fit; a line that is longer stands alone. */
function* pieces(lines: string): Generator<string> {
  let piece = ''
  for (const line of lines.split(/(?<=\n)/)) {
    if (piece !== '' && Buffer.byteLength(piece) + Buffer.byteLength(line) > PIPE_BYTES) {
      yield piece
      piece = ''
    }
    piece += line
  }
  yield piece
}
