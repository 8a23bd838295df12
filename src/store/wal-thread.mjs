// Plain JavaScript, because a thread would load the remover of types for these few lines.
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

/** @type {DatabaseSync | undefined} */
let db

/** Copies as much of the log as nobody reads; see sqlite.org/pragma.html#pragma_wal_checkpoint. */
function copy() {
  db ??= new DatabaseSync(workerData)
  db.exec('pragma synchronous = full; pragma mmap_size = 0; pragma wal_checkpoint(passive)')
}

parentPort?.on('message', () => {
  try {
    copy()
  } catch {
    // What cannot be copied now stays in the log, which is as good; whoever writes notices a full disk.
  }
  parentPort?.postMessage('done')
})
