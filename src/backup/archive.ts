import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { CoreError } from '../core/errors.ts'
import { deriveKey } from '../core/seal.ts'
import type { Secret } from '../core/secret.ts'
import type { Contents, Row, TableFacts, TableShape, TrailEnd } from '../core/transfer.ts'

/**
 * A backup file: a line that says what it is, a line of JSON that anybody may read, then frames. A frame is
 * its length in four bytes and gzipped lines of JSON under AES-256-GCM, whose key comes from the master key
 * and the file's own salt, and whose nonce is the number of the frame. So nothing in it can be read, left
 * out, put in another place or added without the master key.
 */
const MAGIC = 'MINTMARK BACKUP 1'
const FRAME_BYTES = 1_048_576
/** No frame is longer; a length beyond it is none. */
const MAX_FRAME_BYTES = 256 * FRAME_BYTES
const TAG_BYTES = 16
const SALT_BYTES = 16

/** What may be known of a backup without the key. */
export interface ArchiveHeader {
  createdAt: string
  /** Release of Mintmark that made it. */
  release: string
  database: 'sqlite' | 'postgres'
}

interface Head extends Pick<Contents, 'tables' | 'migrations' | 'lastChange' | 'totalRows'> {
  trailEnd: TrailEnd | null
}

type Last = 'more' | 'last'

function frameCipher(file: { key: Buffer; header: string }, frame: number, last: Last) {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(frame, 8)
  const context = createHash('sha256').update(`${file.header}\n${last}`).digest()
  return { nonce, context }
}

export interface ArchiveWriter {
  rows(table: TableShape, batches: AsyncIterable<readonly Row[]>): Promise<void>
  /** Makes the file durable and gives it its name. Returns its size in bytes. */
  finish(tables: readonly TableFacts[]): number
  abandon(): void
}

/** Begins a backup file, readable by its owner alone. Throws `not_configured` when it exists. */
export function createArchive(
  path: string,
  {
    masterKey,
    contents,
    ...about
  }: ArchiveHeader & { masterKey: Secret; contents: Omit<Contents, 'rows'> },
): ArchiveWriter {
  mustNotExist(path)
  const part = `${path}.part`
  rmSync(part, { force: true })
  const handle = openSync(part, 'wx', 0o600)
  const salt = randomBytes(SALT_BYTES).toString('base64url')
  const header = JSON.stringify({ ...about, salt })
  const file = { key: keyOf(masterKey, salt), header }
  writeSync(handle, `${MAGIC}\n${header}\n`)
  let frame = 0
  let pending: string[] = []
  let pendingBytes = 0
  let isOpen = true

  function seal(last: Last): void {
    const { nonce, context } = frameCipher(file, frame, last)
    const cipher = createCipheriv('aes-256-gcm', file.key, nonce)
    cipher.setAAD(context)
    const plain = gzipSync(pending.join('\n'), { level: 1 })
    const body = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    const length = Buffer.alloc(4)
    length.writeUInt32BE(body.length)
    for (const bytes of [length, body]) writeWhole(handle, bytes)
    frame++
    pending = []
    pendingBytes = 0
  }

  function line(value: unknown): void {
    const text = JSON.stringify(value)
    pending.push(text)
    pendingBytes += text.length
    if (pendingBytes >= FRAME_BYTES) seal('more')
  }

  const close = () => {
    if (isOpen) closeSync(handle)
    isOpen = false
  }
  const { tables, migrations, lastChange, trailEnd, totalRows } = contents
  line({ tables, migrations, lastChange, totalRows, trailEnd: trailEnd ?? null } satisfies Head)
  return {
    async rows(table, batches) {
      line({ table: table.name })
      for await (const batch of batches) for (const row of batch) line(row)
    },
    finish(facts) {
      seal('more')
      line({ facts })
      seal('last')
      fsyncSync(handle)
      const bytes = fstatSync(handle).size
      close()
      mustNotExist(path)
      linkSync(part, path)
      rmSync(part)
      syncDirectory(dirname(path))
      return bytes
    },
    abandon() {
      close()
      rmSync(part, { force: true })
    },
  }
}

function writeWhole(handle: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(handle, bytes, done)
}

function mustNotExist(path: string): void {
  if (!existsSync(path)) return
  throw new CoreError('not_configured', `${path} exists. Name a file that does not.`)
}

function syncDirectory(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function keyOf(masterKey: Secret, salt: string): Buffer {
  return deriveKey(Buffer.from(masterKey.reveal()), 'backup', salt)
}

export interface Archive extends Contents {
  about: ArchiveHeader
  /** What the writer saw; known once all rows have been read. */
  facts(): readonly TableFacts[]
  close(): void
}

/** Opens a backup file. Throws `not_configured` when it is none, is damaged, or has another key. */
export function openArchive(path: string, masterKey: Secret): Archive {
  const handle = opened(path)
  try {
    return archiveOver(handle, path, masterKey)
  } catch (error) {
    closeSync(handle)
    throw error
  }
}

function archiveOver(handle: number, path: string, masterKey: Secret): Archive {
  const start = Buffer.alloc(4096)
  const text = start.subarray(0, readSync(handle, start, 0, start.length, 0)).toString('latin1')
  const [magic = '', header = ''] = text.split('\n', 2)
  if (magic !== MAGIC || !header.endsWith('}')) {
    throw refused(`${path} is not a Mintmark backup.`)
  }
  const { salt, ...about } = JSON.parse(header) as ArchiveHeader & { salt: string }
  const file = { key: keyOf(masterKey, salt), header }
  let at = magic.length + header.length + 2
  let frame = 0
  let isLast = false

  /** Lines of the next frame; undefined: there are no more. */
  function nextFrame(): string[] | undefined {
    if (isLast) return undefined
    const length = exactly(4).readUInt32BE()
    if (length < TAG_BYTES || length > MAX_FRAME_BYTES) throw damaged()
    const body = exactly(length)
    const plain = unsealed(body, 'more') ?? unsealed(body, 'last')
    if (plain === undefined) {
      throw frame === 0
        ? refused(
            `The master key does not open ${path}. Use the one that the server had when the backup was made.`,
          )
        : damaged()
    }
    frame++
    return gunzipSync(plain).toString().split('\n')
  }

  function exactly(bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes)
    if (readSync(handle, buffer, 0, bytes, at) < bytes) throw damaged()
    at += bytes
    return buffer
  }

  function unsealed(body: Buffer, last: Last): Buffer | undefined {
    const { nonce, context } = frameCipher(file, frame, last)
    const decipher = createDecipheriv('aes-256-gcm', file.key, nonce)
    decipher.setAAD(context)
    decipher.setAuthTag(body.subarray(-TAG_BYTES))
    try {
      const plain = [decipher.update(body.subarray(0, -TAG_BYTES)), decipher.final()]
      isLast = last === 'last'
      return Buffer.concat(plain)
    } catch {
      return undefined
    }
  }

  const damaged = () => refused(`${path} is damaged or cut off. Take another backup.`)

  let lines: string[] = []
  let next = 0
  function line(): unknown {
    while (next >= lines.length) {
      const more = nextFrame()
      if (more === undefined) throw damaged()
      lines = more
      next = 0
    }
    return JSON.parse(lines[next++] ?? '')
  }

  const head = line() as Head
  let ahead: unknown = line()
  let facts: readonly TableFacts[] = []
  return {
    ...head,
    trailEnd: head.trailEnd ?? undefined,
    about,
    async *rows({ name }) {
      if ((ahead as { table?: string }).table !== name) throw damaged()
      for (;;) {
        const batch: Row[] = []
        while (batch.length < 1000) {
          ahead = line()
          if (!Array.isArray(ahead)) break
          batch.push(ahead as Row)
        }
        if (batch.length > 0) yield batch
        if (!Array.isArray(ahead)) break
      }
      facts = (ahead as { facts?: TableFacts[] }).facts ?? facts
    },
    facts: () => facts,
    close: () => closeSync(handle),
  }
}

function opened(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw refused(`${path} cannot be read: ${(error as Error).message}.`)
  }
}

function refused(message: string): CoreError {
  return new CoreError('not_configured', message)
}
