import type { Terminal } from './terminal.ts'

const CLEAR = '\r\u001b[K'
const PAUSE_MS = 100

export interface Share {
  /** Draws the line anew, some times a second. */
  show(progress: { done: number; total: number }): void
  /** Takes the line away. */
  clear(): void
}

/** How much of a known number is done, for people who watch; nothing in a file or a pipe. */
export function createShare(
  { stderr, now }: Pick<Terminal, 'stderr' | 'now'>,
  what: string,
): Share {
  if (!stderr.isTTY) return { show: () => {}, clear: () => {} }
  let drawnAtMs = 0
  return {
    show({ done, total }) {
      if (now() - drawnAtMs < PAUSE_MS) return
      drawnAtMs = now()
      const percent = total === 0 ? 100 : Math.floor((100 * done) / total)
      stderr.write(`${CLEAR}${percent} %  ${done} of ${total} ${what}`)
    },
    clear() {
      if (drawnAtMs > 0) stderr.write(CLEAR)
    },
  }
}
