/**
 * What database and processor do when nothing is around them: the limits of `create` and `refresh`.
 * Forked by subjects.ts, which sends `{ seconds }`. Usage: node raw.ts commits|signatures
 */
import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'

/** More than enough to keep all threads of the pool busy. */
const SIGNATURES_AT_ONCE = 32

/** One row per transaction, synced as Mintmark does it; nothing else is written. */
function commits(): (seconds: number) => Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-bench-raw-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  const db = new DatabaseSync(join(dir, 'raw.db'))
  db.exec('pragma journal_mode = wal; pragma synchronous = full')
  db.exec('create table note (id integer primary key, text text)')
  const insert = db.prepare('insert into note (text) values (?)')
  const text = 'x'.repeat(300)
  return async (seconds) => {
    const endMs = performance.now() + seconds * 1000
    let done = 0
    for (; performance.now() < endMs; done++) insert.run(text)
    return done
  }
}

/** RS256 signatures over as many bytes as an access token has, on all threads of the pool. */
function signatures(): (seconds: number) => Promise<number> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const data = Buffer.alloc(500, 'x')
  const signOnce = promisify(sign)
  return async (seconds) => {
    const endMs = performance.now() + seconds * 1000
    let done = 0
    const go = async () => {
      for (; performance.now() < endMs; done++) await signOnce('sha256', data, privateKey)
    }
    await Promise.all(Array.from({ length: SIGNATURES_AT_ONCE }, go))
    return done
  }
}

const work = process.argv[2] === 'commits' ? commits() : signatures()
process.on('SIGTERM', () => process.exit(0))
process.on('message', ({ seconds }: { seconds: number }) => {
  const startMs = performance.now()
  void work(seconds).then((done) => {
    process.send?.({ done, seconds: (performance.now() - startMs) / 1000 })
  })
})
process.send?.('ready')
