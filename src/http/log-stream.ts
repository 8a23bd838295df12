import { type DestinationStream, destination } from 'pino'

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

/** So many characters wait for a log that cannot be written; what comes beyond them is lost. */
const MAX_WAITING_LENGTH = 1_048_576

/**
 * Lines to `fd`. A log that cannot be written, say because its disk is full or nobody reads it any more, ends
 * nothing, because tokens can be verified all the same: lines wait until it can be written again, but not
 * more than a mebibyte. `tell` hears of it once each time.
 */
export function patientLog(fd: number, tell: (sentence: string) => void): DestinationStream {
  const target = destination({ dest: fd, sync: true, maxLength: MAX_WAITING_LENGTH })
  let isFailing = false
  target.on('error', ({ message }: Error) => {
    if (!isFailing) tell(`The log cannot be written (${message}). Mintmark goes on without it.\n`)
    isFailing = true
  })
  target.on('write', () => {
    isFailing = false
  })
  return target
}
