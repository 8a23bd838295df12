import { Worker } from 'node:worker_threads'
import type { SqliteDatabase } from 'kysely'

/** Pages that are worth a copy: 4 MiB, as SQLite has it. */
const WORTH_PAGES = 1000
/** 32 MiB. Beyond them the writer copies what the thread has left, whereupon the log begins anew. */
const MOST_PAGES = 8192
/** How long the thread stays when there is nothing to copy. */
const KEEP_MS = 10_000

export interface WalCopier {
  /** To be called after each commit. */
  committed(): void
  close(): Promise<void>
}

/**
 * Has the write-ahead log copied into `file` in a thread of its own, which is there only while much is written.
 * SQLite does so within a commit, and everybody waits: for thousands of pages all over the file, and for the disk.
 */
export function walCopier(file: string, writer: SqliteDatabase): WalCopier {
  writer.prepare(`pragma wal_autocheckpoint = ${MOST_PAGES}`).all([])
  const state = writer.prepare('pragma wal_checkpoint(noop)')
  let thread: Worker | undefined
  let timer: NodeJS.Timeout | undefined
  let isBusy = false
  let isClosed = false

  function pagesLeft(): number {
    const [row] = state.all([]) as { log: number; checkpointed: number }[]
    return row === undefined ? 0 : row.log - row.checkpointed
  }

  function started(): Worker {
    const url = new URL('./wal-thread.mjs', import.meta.url)
    const fresh = new Worker(url, { workerData: file })
    fresh.unref()
    fresh.on('message', rest)
    // The log grows until the writer copies it.
    fresh.on('error', () => {
      if (thread === fresh) thread = undefined
      isBusy = false
    })
    return fresh
  }

  function rest(): void {
    isBusy = false
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (!isBusy) void end()
    }, KEEP_MS)
    timer.unref()
  }

  async function end(): Promise<void> {
    clearTimeout(timer)
    const ended = thread
    thread = undefined
    await ended?.terminate()
  }

  return {
    committed() {
      if (isBusy || isClosed || pagesLeft() < WORTH_PAGES) return
      isBusy = true
      thread ??= started()
      thread.postMessage('copy')
    },
    async close() {
      isClosed = true
      await end()
    },
  }
}
