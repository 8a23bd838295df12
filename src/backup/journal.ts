import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { isEnding, JOURNAL_MARK } from '../core/audit/endings.ts'
import type { Core } from '../core/core.ts'

const AT_ONCE = 500

export interface Journal {
  /** Appends what has ended since the last time. */
  catchUp(): Promise<void>
}

/**
 * Keeps a copy of what was revoked or taken away, one line of JSON each, outside the database: whoever
 * restores an older backup learns from it what must not come back to life. It follows the audit trail, so
 * that after a crash it goes on where it was; a journal of another trail is put aside.
 */
export function openJournal(file: string, core: Pick<Core, 'trail'>): Journal {
  let reached: { sequence: number; hash: string } | undefined
  let isOpen = false
  let running: Promise<void> = Promise.resolve()

  async function open(): Promise<void> {
    const last = existsSync(file) ? lastLine(file) : undefined
    if (last !== undefined && (await core.trail.hashOf(last.sequence)) === last.hash) {
      reached = last
    } else if (existsSync(file)) {
      renameSync(file, `${file}.${last?.sequence ?? 0}-${Date.now()}`)
    }
    isOpen = true
  }

  async function follow(): Promise<void> {
    if (!isOpen) await open()
    const end = await core.trail.end()
    if (end === undefined || end.sequence === reached?.sequence) return
    const lines: string[] = []
    // A new journal begins now: what ended before is in every backup that is made from now on.
    let from = reached?.sequence ?? end.sequence
    for (;;) {
      const records = await core.trail.endings({ after: from, upTo: end.sequence, limit: AT_ONCE })
      lines.push(...records.filter(isEnding).map((record) => JSON.stringify(record)))
      from = records.at(-1)?.sequence ?? from
      if (records.length < AT_ONCE) break
    }
    lines.push(
      JSON.stringify({
        ...end,
        action: JOURNAL_MARK,
        subjectType: 'server',
        subjectId: 'journal',
      }),
    )
    append(file, lines)
    reached = end
  }

  return {
    catchUp() {
      running = running.catch(() => undefined).then(follow)
      return running
    },
  }
}

function append(file: string, lines: readonly string[]): void {
  const handle = openSync(file, 'a', 0o600)
  const bytes = Buffer.from(`${lines.join('\n')}\n`)
  const before = fstatSync(handle).size
  try {
    // A disk that is nearly full takes a part, and says so by a number alone.
    for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done)
    fdatasyncSync(handle)
  } catch (error) {
    // What comes next must not go on in the middle of a line.
    ftruncateSync(handle, before)
    throw error
  } finally {
    closeSync(handle)
  }
}

/** The last whole line; what a crash cut off behind it is taken away. */
function lastLine(file: string): { sequence: number; hash: string } | undefined {
  const bytes = readFileSync(file)
  const end = bytes.lastIndexOf(10) + 1
  if (end < bytes.length) {
    const handle = openSync(file, 'r+')
    ftruncateSync(handle, end)
    closeSync(handle)
  }
  const last = bytes.subarray(0, end).toString().trimEnd().split('\n').at(-1)
  if (last === undefined || last === '') return undefined
  const { sequence, hash } = JSON.parse(last) as { sequence: number; hash: string }
  return { sequence, hash }
}
