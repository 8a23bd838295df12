import { createBar } from './bar.ts'
import type { Terminal } from './terminal.ts'

export interface Done {
  files: number
  bytes: number
}

export interface Progress {
  /** Draws the line anew, some times a second. */
  show(done: Done): void
  /** Takes the line away. */
  clear(): void
}

/**
 * How far a long command is, for people who watch: one line on stderr that is written over, and
 * nothing in a file or a pipe. `total` may leave out what is not known.
 */
export function createProgress(
  { stderr, now }: Pick<Terminal, 'stderr' | 'now'>,
  { total, what }: { total: Partial<Done>; what: string },
): Progress {
  const bar = createBar({ stderr, now })
  const startedAtMs = now()
  return {
    show(done) {
      const seconds = (now() - startedAtMs) / 1000
      bar.show({ share: shareOf(done, total), text: textOf(done, { what, seconds }) })
    },
    clear: bar.clear,
  }
}

function textOf(done: Done, { what, seconds }: { what: string; seconds: number }): string {
  return [
    `${done.files} ${what}`,
    bytesText(done.bytes),
    `${bytesText(done.bytes / seconds)}/s`,
  ].join('  ')
}

function shareOf({ files, bytes }: Done, total: Partial<Done>): number | undefined {
  const share =
    total.bytes !== undefined
      ? bytes / total.bytes
      : total.files !== undefined
        ? files / total.files
        : undefined
  // Files grow while they are read.
  return share === undefined || Number.isNaN(share) ? undefined : Math.min(share, 1)
}

/** 1.2 GB */
export function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let amount = bytes
  let unit = 0
  while (amount >= 999.5 && unit + 1 < units.length) {
    amount /= 1000
    unit++
  }
  return `${amount.toFixed(unit === 0 || amount >= 99.5 ? 0 : 1)} ${units[unit]}`
}
