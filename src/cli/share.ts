import { createBar } from './bar.ts'
import type { Terminal } from './terminal.ts'

export interface Share {
  /** Draws the line anew, some times a second. */
  show(progress: { done: number; total: number }): void
  /** Takes the line away. */
  clear(): void
}

/** How much of a known number is done, for people who watch; nothing in a file or a pipe. */
export function createShare(terminal: Pick<Terminal, 'stderr' | 'now'>, what: string): Share {
  const bar = createBar(terminal)
  return {
    show: ({ done, total }) =>
      bar.show({ share: total === 0 ? 1 : done / total, text: `${done} of ${total} ${what}` }),
    clear: bar.clear,
  }
}
