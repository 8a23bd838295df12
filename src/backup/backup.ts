import { randomBytes } from 'node:crypto'
import type { Config } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import { keysFit } from '../core/keys/rewrap.ts'
import type { KeyPurpose, SealedKey } from '../core/keys/store.ts'
import type { Secret } from '../core/secret.ts'
import {
  type Row,
  readThrough,
  recordsOfTable,
  type Source,
  type TableFacts,
  type TrailEnd,
  type TransferProgress,
} from '../core/transfer.ts'
import { VERSION } from '../version.ts'
import { type Archive, type ArchiveHeader, createArchive, openArchive } from './archive.ts'
import type { Places } from './places.ts'

/** What is in a backup. */
export interface Manifest extends ArchiveHeader {
  tables: readonly TableFacts[]
  rows: number
  migrations: readonly string[]
  /** Last record of the audit trail; null: there was none. */
  auditEnd: TrailEnd | null
  /** Last change of the change log. */
  lastChange: number
}

/**
 * Copies an installation as of one moment into one encrypted file, beside servers that go on. The master
 * key is not in it. Throws `not_configured`, `unavailable`.
 */
export async function makeBackup(
  places: Places,
  wish: {
    config: Config
    masterKey: Secret
    file: string
    nowMs: number
    onProgress?: (progress: TransferProgress) => void
  },
): Promise<Manifest & { bytes: number }> {
  const { config, masterKey, file } = wish
  const source = await places.openSource(config.database, { alone: false })
  try {
    await mustOpen(source, masterKey)
    const about: ArchiveHeader = {
      createdAt: new Date(wish.nowMs).toISOString(),
      release: VERSION,
      database: config.database.kind,
    }
    const archive = createArchive(file, { ...about, masterKey, contents: source })
    try {
      const tables = await readThrough(source, archive.rows, wish.onProgress)
      const bytes = archive.finish(tables)
      return { ...manifestOf({ ...source, about }, tables), bytes }
    } catch (error) {
      archive.abandon()
      throw error
    }
  } finally {
    await source.close()
  }
}

/** A backup under another key would be found useless on the day it is needed. */
async function mustOpen(source: Source, masterKey: Secret): Promise<void> {
  const keys: SealedKey[] = []
  for await (const row of recordsOfTable(source, 'key')) {
    keys.push({
      id: String(row.id),
      purpose: row.purpose as KeyPurpose,
      sealed: String(row.sealed),
      createdAtMs: Number(row.created_at_ms),
      retiredAtMs: row.retired_at_ms === null ? undefined : Number(row.retired_at_ms),
    })
  }
  if (keysFit(keys, { masterKey, random: randomBytes })) return
  throw new CoreError(
    'not_configured',
    'The master key does not open this database. Give the one that its server has.',
  )
}

/** Reads a whole backup and holds it against what its writer saw. Throws `not_configured`. */
export async function checkBackup(wish: {
  file: string
  masterKey: Secret
  onProgress?: (progress: TransferProgress) => void
}): Promise<Manifest> {
  const archive = openArchive(wish.file, wish.masterKey)
  try {
    const tables = await readThrough(archive, discard, wish.onProgress)
    mustBeWhole(archive, tables)
    return manifestOf(archive, tables)
  } finally {
    archive.close()
  }
}

async function discard(_: unknown, batches: AsyncIterable<readonly Row[]>): Promise<void> {
  for await (const _batch of batches);
}

/** Throws `not_configured` unless what was read is what was written. */
export function mustBeWhole(archive: Archive, tables: readonly TableFacts[]): void {
  if (JSON.stringify(archive.facts()) === JSON.stringify(tables)) return
  throw new CoreError(
    'not_configured',
    'The backup is damaged: its rows are not those it began with.',
  )
}

export function manifestOf(
  contents: Pick<Archive, 'about' | 'migrations' | 'trailEnd' | 'lastChange'>,
  tables: readonly TableFacts[],
): Manifest {
  return {
    ...contents.about,
    tables,
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    migrations: contents.migrations,
    auditEnd: contents.trailEnd ?? null,
    lastChange: contents.lastChange,
  }
}
