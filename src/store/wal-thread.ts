import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

let db: DatabaseSync | undefined

/** Copies as much of the log as nobody reads; see sqlite.org/pragma.html#pragma_wal_checkpoint. */
function checkpoint(): void {
  db ??= new DatabaseSync(workerData as string)
  db.exec('pragma synchronous = full; pragma mmap_size = 0; pragma wal_checkpoint(passive)')
}

parentPort?.on('message', () => {
  try {
    checkpoint()
  } catch {
    // What cannot be copied now stays in the log, which is as good; whoever writes notices a full disk.
  }
  parentPort?.postMessage('done')
})
