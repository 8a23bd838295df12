import type { Terminal } from './terminal.ts'
import { shortened } from './text.ts'

const BAR_WIDTH = 24
const PAUSE_MS = 100
const CLEAR = '\r\u001b[K'

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
  if (!stderr.isTTY) return { show: () => {}, clear: () => {} }
  const startedAtMs = now()
  let drawnAtMs = startedAtMs
  return {
    show(done) {
      const nowMs = now()
      if (nowMs - drawnAtMs < PAUSE_MS) return
      drawnAtMs = nowMs
      const line = lineOf(done, { total, what, seconds: (nowMs - startedAtMs) / 1000 })
      // Some terminals say that they have no columns at all.
      stderr.write(CLEAR + shortened(line, (stderr.columns || 80) - 1))
    },
    clear() {
      if (drawnAtMs > startedAtMs) stderr.write(CLEAR)
    },
  }
}

function lineOf(
  done: Done,
  { total, what, seconds }: { total: Partial<Done>; what: string; seconds: number },
): string {
  const share = shareOf(done, total)
  return [
    ...(share === undefined ? [] : [barOf(share)]),
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

function barOf(share: number): string {
  const full = Math.floor(share * BAR_WIDTH)
  const percent = String(Math.floor(share * 100)).padStart(3)
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] ${percent} %`
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
