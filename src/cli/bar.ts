import { INTERRUPTED } from './failure.ts'
import type { Terminal } from './terminal.ts'
import { shortened } from './text.ts'

const BAR_WIDTH = 24
const PAUSE_MS = 100
const CLEAR = '\r\u001b[K'

export interface Bar {
  /** Draws the line anew, some times a second. `share`: from 0 to 1, if that is known. */
  show(at: { share?: number | undefined; text: string }): void
  /** Takes the line away. */
  clear(): void
}

/**
 * How far a long command is, for people who watch: one line on stderr that is written over, and
 * nothing in a file or a pipe.
 */
export function createBar(
  { stderr, now }: Pick<Terminal, 'stderr' | 'now'>,
  /** What to say when Ctrl-C ends the command meanwhile; only for one that waits all the time. */
  onStop?: string,
): Bar {
  if (!stderr.isTTY) return { show: () => {}, clear: () => {} }
  const startedAtMs = now()
  let drawnAtMs = startedAtMs
  // A listener is heard between two turns only: a command that works without a break could not be stopped.
  const stop = () => {
    if (drawnAtMs > startedAtMs) stderr.write(CLEAR)
    stderr.write(`${onStop}\n`)
    process.exit(INTERRUPTED)
  }
  if (onStop !== undefined) process.once('SIGINT', stop)
  return {
    show({ share, text }) {
      const nowMs = now()
      if (nowMs - drawnAtMs < PAUSE_MS) return
      drawnAtMs = nowMs
      const line = share === undefined ? text : `${barOf(share)}  ${text}`
      // Some terminals say that they have no columns at all.
      stderr.write(CLEAR + shortened(line, (stderr.columns || 80) - 1))
    },
    clear() {
      process.off('SIGINT', stop)
      if (drawnAtMs > startedAtMs) stderr.write(CLEAR)
    },
  }
}

function barOf(share: number): string {
  const full = Math.floor(share * BAR_WIDTH)
  const percent = String(Math.floor(share * 100)).padStart(3)
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] ${percent} %`
}
