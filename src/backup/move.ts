import type { Config, DatabaseConfig } from '../config.ts'
import { CoreError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { fill, type TableFacts, type TransferProgress } from '../core/transfer.ts'
import type { Places } from './places.ts'

export interface Moved {
  tables: readonly TableFacts[]
  rows: number
  /** Records of the audit trail, whose chain was recomputed in the new place. */
  auditRecords: number
}

/**
 * Carries a whole installation into an empty database, table by table, and proves that it arrived: by
 * counts and digests of every table, by opening its keys, and by the chain of the audit trail. The old one
 * stays as it is. Throws `not_configured`, `unavailable`.
 */
export async function moveInstallation(
  places: Places,
  wish: {
    config: Config
    masterKey: Secret
    from: DatabaseConfig
    to: DatabaseConfig
    onProgress?: (progress: TransferProgress) => void
  },
): Promise<Moved> {
  const source = await places.openSource(wish.from, { alone: true })
  try {
    const tables = await filled(places, { source, to: wish.to, onProgress: wish.onProgress })
    const rows = tables.reduce((sum, each) => sum + each.rows, 0)
    const config = { ...wish.config, database: wish.to }
    const auditRecords = await settled(places, {
      config,
      masterKey: wish.masterKey,
      action: 'server.moved',
      after: { from: wish.from.kind, to: wish.to.kind, rows },
    })
    return { tables, rows, auditRecords }
  } finally {
    await source.close()
  }
}

async function filled(
  places: Places,
  {
    source,
    to,
    onProgress,
  }: {
    source: Awaited<ReturnType<Places['openSource']>>
    to: DatabaseConfig
    onProgress: ((progress: TransferProgress) => void) | undefined
  },
): Promise<readonly TableFacts[]> {
  const target = await places.openTarget(to, source)
  try {
    const tables = await fill(target, source, onProgress)
    await target.finish()
    return tables
  } catch (error) {
    await target.abandon()
    throw error
  }
}

/**
 * Opens an installation in its new place, proves its audit trail and adds to it what was done. Returns how
 * many records were proven. Throws `not_configured` when master key or trail do not fit.
 */
export async function settled(
  places: Places,
  wish: {
    config: Config
    masterKey: Secret
    action: 'server.moved' | 'server.restored'
    after: Record<string, unknown>
  },
): Promise<number> {
  const { core, store } = await places.openCore(wish.config, { masterKey: wish.masterKey })
  try {
    const verdict = await core.verifyAudit()
    if (!verdict.intact) {
      throw new CoreError(
        'not_configured',
        `The audit trail is broken at record ${verdict.firstBadSequence}: ${verdict.problem} It was so before. The installation is in its new place; find out what happened before you use it.`,
      )
    }
    await core.recordTransfer({ action: wish.action, after: wish.after })
    return verdict.records
  } finally {
    await store.close()
  }
}
