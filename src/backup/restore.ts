import { readFileSync } from 'node:fs'
import type { Config, DatabaseConfig } from '../config.ts'
import {
  type EndingRecord,
  type Endings,
  endingsOf,
  JOURNAL_MARK,
  NO_ENDINGS,
} from '../core/audit/endings.ts'
import { CoreError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { fill, type TrailEnd, type TransferProgress, trailOf } from '../core/transfer.ts'
import { type Archive, openArchive } from './archive.ts'
import { type Manifest, manifestOf, mustBeWhole } from './backup.ts'
import { settled } from './move.ts'
import type { Places } from './places.ts'

/** What tells of revocations that came after the backup. */
export type Since =
  /** The journal of revocations, or an export of the audit trail. */
  | { file: string }
  /** The database that the backup is to stand in for, where it can still be read. */
  | { database: DatabaseConfig }
  /** Nothing does: every token and grant ends. */
  | 'revoke-all'
  /** Nothing does, and whoever restores takes that on. */
  | 'accept-revoked-alive'

/**
 * The change log goes on so far beyond the backup: signed tokens name the change that they are as of, and
 * those from after the backup would otherwise outlive all that is revoked from now on.
 */
const LEAP = 1_000_000_000

export interface Restored extends Manifest {
  /** Rows that were ended again, by kind. */
  ended: Record<string, number>
  /** How many there are; all of them are disabled. */
  webhooks: number
  /** Changes since the backup that people must look at, by action. */
  open: Record<string, number>
  /** Up to which record of the audit trail endings are known; null: not beyond the backup. */
  knownUpTo: number | null
}

/**
 * Puts a backup into an empty place, ends again what had ended since, and proves the result. Nothing is in
 * place unless all of it is. Throws `not_configured`, `unavailable`.
 */
export async function restoreBackup(
  places: Places,
  wish: {
    config: Config
    masterKey: Secret
    file: string
    since: Since
    nowMs: number
    onProgress?: (progress: TransferProgress) => void
  },
): Promise<Restored> {
  const { config, masterKey } = wish
  const archive = openArchive(wish.file, masterKey)
  try {
    const known = await endingsSince(places, wish.since, archive.trailEnd)
    const target = await places.openTarget(config.database, archive)
    let counts: Record<string, number> = {}
    let manifest: Manifest
    try {
      const lastChange = archive.lastChange + LEAP
      const contents = { ...archive, lastChange, rows: sameTrail(archive, known.hashes) }
      const tables = await fill(target, contents, wish.onProgress)
      mustBeWhole(archive, tables)
      manifest = manifestOf(archive, tables)
      counts = await target.end(known.endings, wish.nowMs)
      await target.finish()
    } catch (error) {
      await target.abandon()
      throw error
    }
    const { webhooks = 0, ...ended } = counts
    const open = Object.fromEntries(known.endings.open)
    const knownUpTo = known.upTo ?? null
    await settled(places, {
      config,
      masterKey,
      action: 'server.restored',
      after: {
        backupOf: manifest.createdAt,
        auditEnd: manifest.auditEnd?.sequence ?? 0,
        since: wayOf(wish.since),
        knownUpTo,
        ended,
        webhooksDisabled: webhooks,
      },
    })
    return { ...manifest, ended, webhooks, open, knownUpTo }
  } finally {
    archive.close()
  }
}

function wayOf(since: Since): string {
  if (typeof since === 'string') return since
  return 'file' in since ? 'journal' : 'database'
}

interface Known {
  endings: Endings
  /** Last record of the audit trail that was looked at. */
  upTo: number | undefined
  /** Of records that the backup has, too. */
  hashes: ReadonlyMap<number, string>
}

const NO_HASHES: Known['hashes'] = new Map()

async function endingsSince(
  places: Places,
  since: Since,
  backupEnd: TrailEnd | undefined,
): Promise<Known> {
  if (since === 'revoke-all') {
    return { endings: { ...NO_ENDINGS, everything: true }, upTo: undefined, hashes: NO_HASHES }
  }
  if (since === 'accept-revoked-alive') {
    return { endings: NO_ENDINGS, upTo: undefined, hashes: NO_HASHES }
  }
  const records =
    'file' in since
      ? recordsIn(since.file)
      : await recordsOf(places, since.database, backupEnd?.sequence ?? 0)
  return after(records, backupEnd)
}

/** Throws `not_configured` unless the records go on where the backup ends. */
function after(records: readonly EndingRecord[], backupEnd: TrailEnd | undefined): Known {
  const from = backupEnd?.sequence ?? 0
  const upTo = records.at(-1)?.sequence ?? 0
  const [first] = records
  if (upTo < from) {
    throw refused(
      `What tells of revocations ends at record ${upTo} of the audit trail, before the backup at record ${from}. It says nothing of what came after; name a later one.`,
    )
  }
  // A mark says that what comes after it is there; a record, that it is there itself.
  const begins = first?.action === JOURNAL_MARK ? first.sequence + 1 : (first?.sequence ?? 0)
  if (begins > from + 1) {
    throw refused(
      `What tells of revocations begins at record ${begins} of the audit trail, after the backup at record ${from}: what lies between is not known. Name an earlier one.`,
    )
  }
  mustHaveNoGaps(records)
  const later = records.filter(({ sequence }) => sequence > from)
  mustNameEndings(later)
  const hashes = new Map(
    records.flatMap(({ sequence, hash }): [number, string][] =>
      sequence <= from && hash !== undefined ? [[sequence, hash]] : [],
    ),
  )
  return { endings: endingsOf(later), upTo, hashes }
}

/** What a restore ended again is in no record of its own: its trail goes on from the backup. */
function mustNameEndings(records: readonly EndingRecord[]): void {
  const restored = records.find(({ action }) => action === 'server.restored')
  if (restored === undefined) return
  throw refused(
    `The installation was itself restored after the backup, at record ${restored.sequence} of its audit trail, which does not say what had ended before. Take a backup from after that, or say --revoke-all.`,
  )
}

/** Passes on the rows of a backup, as long as its audit trail is the one that the hashes are from. */
function sameTrail(archive: Archive, hashes: Known['hashes']): Archive['rows'] {
  return async function* rows(table) {
    const isTrail = table.name === 'audit'
    const [sequence, hash] = [table.columns.indexOf('sequence'), table.columns.indexOf('hash')]
    for await (const batch of archive.rows(table)) {
      for (const row of isTrail ? batch : []) {
        const known = hashes.get(Number(row[sequence]))
        if (known === undefined || known === row[hash]) continue
        throw refused(
          'What tells of revocations belongs to another installation than the backup: their audit trails differ.',
        )
      }
      yield batch
    }
  }
}

/** A journal leaves out what ends nothing; an export of the trail leaves out nothing. */
function mustHaveNoGaps(records: readonly EndingRecord[]): void {
  if (records.some(({ action }) => action === JOURNAL_MARK)) return
  let last: number | undefined
  for (const { sequence } of records) {
    if (last !== undefined && sequence !== last + 1) {
      throw refused(
        `Records of the audit trail are missing before record ${sequence}. Export it without a filter.`,
      )
    }
    last = sequence
  }
}

async function recordsOf(
  places: Places,
  database: DatabaseConfig,
  from: number,
): Promise<EndingRecord[]> {
  const source = await places.openSource(database, { alone: false })
  try {
    const records: EndingRecord[] = []
    for await (const record of trailOf(source, from)) records.push(record)
    return records
  } finally {
    await source.close()
  }
}

/** Lines of JSON, as the journal has them, or the document of `mintmark audit list --all --json`. */
function recordsIn(file: string): EndingRecord[] {
  try {
    const text = readFileSync(file, 'utf8')
    const items = text.trimStart().startsWith('{\n')
      ? (JSON.parse(text) as { items: unknown[] }).items
      : linesOf(text).map((line) => JSON.parse(line) as unknown)
    return items.map(recordOf).sort((a, b) => a.sequence - b.sequence)
  } catch (error) {
    throw refused(`${file} does not tell of revocations: ${(error as Error).message}.`)
  }
}

/** Whole lines alone: the last may have been cut off by a crash. */
function linesOf(text: string): string[] {
  const lines = text.split('\n')
  lines.pop()
  return lines.filter((line) => line !== '')
}

function recordOf(value: unknown): EndingRecord {
  const { sequence, action, subjectType, subjectId, before, after, hash } = value as Record<
    keyof EndingRecord,
    unknown
  >
  if (!Number.isSafeInteger(sequence) || typeof action !== 'string') {
    throw new Error('a record lacks sequence or action')
  }
  return {
    sequence: sequence as number,
    action,
    subjectType: subjectType as EndingRecord['subjectType'],
    subjectId: String(subjectId),
    before: (before ?? undefined) as EndingRecord['before'],
    after: (after ?? undefined) as EndingRecord['after'],
    ...(typeof hash === 'string' ? { hash } : {}),
  }
}

function refused(message: string): CoreError {
  return new CoreError('not_configured', message)
}
