import type { Kysely, Selectable } from 'kysely'
import type { Checkpoint } from '../core/audit/checkpoint.ts'
import type { AuditAction, AuditRecord, AuditSubject } from '../core/audit/event.ts'
import type { AuditStore, ChainEnd } from '../core/audit/store.ts'
import type { TokenId, UserId } from '../core/id.ts'
import type { Via } from '../core/tokens/token.ts'
import type { Journal } from './journal.ts'
import { prepared } from './prepared.ts'
import type { AuditTable, Schema } from './schema.ts'

function toRecord(row: Selectable<AuditTable>): AuditRecord {
  return {
    sequence: row.sequence,
    atMs: row.at_ms,
    action: row.action as AuditAction,
    subjectType: row.subject_type as AuditSubject,
    subjectId: row.subject_id,
    actorId: (row.actor_id ?? undefined) as UserId | undefined,
    actorName: row.actor_name ?? undefined,
    actorTokenId: (row.actor_token_id ?? undefined) as TokenId | undefined,
    ip: row.ip ?? undefined,
    requestId: row.request_id ?? undefined,
    via: row.via as Via | 'system',
    before: parsed(row.before),
    after: parsed(row.after),
    hash: row.hash,
  }
}

function parsed(json: string | null): Record<string, unknown> | undefined {
  if (json === null) return undefined
  try {
    return JSON.parse(json) as Record<string, unknown>
  } catch {
    // Somebody altered the row. It must not hide the rest; its hash no longer fits.
    return { unreadable: json }
  }
}

function text(value: Record<string, unknown> | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value)
}

function toCheckpoint(row: Selectable<Schema['audit_checkpoint']>): Checkpoint {
  return { sequence: row.sequence, hash: row.hash, atMs: row.at_ms, signature: row.signature }
}

export function toAuditRow(record: AuditRecord): AuditTable {
  return {
    sequence: record.sequence,
    at_ms: record.atMs,
    action: record.action,
    subject_type: record.subjectType,
    subject_id: record.subjectId,
    actor_id: record.actorId ?? null,
    actor_name: record.actorName ?? null,
    actor_token_id: record.actorTokenId ?? null,
    ip: record.ip ?? null,
    request_id: record.requestId ?? null,
    via: record.via,
    before: text(record.before),
    after: text(record.after),
    hash: record.hash,
  }
}

const lastRecords = prepared((db) =>
  db.selectFrom('audit').select(['sequence', 'hash']).orderBy('sequence', 'desc').limit(1),
)

export async function lastRecord(db: Kysely<Schema>): Promise<ChainEnd | undefined> {
  const [last] = await lastRecords(db, {})
  return last
}

/** `journal` collects what is appended; absent outside a transaction, where nothing may be. */
export function auditStore(db: Kysely<Schema>, journal?: Journal): AuditStore {
  const checkpoints = () => db.selectFrom('audit_checkpoint').selectAll()
  return {
    last: () => lastRecord(db),
    async append(seal, event) {
      if (journal === undefined) throw new Error('An audit record belongs into a transaction.')
      journal.records.push({ seal, event })
    },
    async list(filter, from, size) {
      const backwards = from?.direction === 'before'
      let query = db
        .selectFrom('audit')
        .selectAll()
        .orderBy('sequence', backwards ? 'asc' : 'desc')
        .limit(size)
      if (from !== undefined)
        query = query.where('sequence', backwards ? '>' : '<', Number(from.at))
      if (filter.actorId !== undefined) query = query.where('actor_id', '=', filter.actorId)
      if (filter.action !== undefined) query = query.where('action', '=', filter.action)
      if (filter.subjectType !== undefined) {
        query = query.where('subject_type', '=', filter.subjectType)
      }
      if (filter.subjectId !== undefined) query = query.where('subject_id', '=', filter.subjectId)
      if (filter.fromMs !== undefined) query = query.where('at_ms', '>=', filter.fromMs)
      if (filter.toMs !== undefined) query = query.where('at_ms', '<', filter.toMs)
      return (await query.execute()).map(toRecord)
    },
    async between({ after, upTo }, except, limit) {
      const rows = await db
        .selectFrom('audit')
        .selectAll()
        .where('sequence', '>', after)
        .where('sequence', '<=', upTo)
        .where('action', 'not in', except)
        .orderBy('sequence')
        .limit(limit)
        .execute()
      return rows.map(toRecord)
    },
    async addCheckpoint({ sequence, hash, atMs, signature }) {
      await db
        .insertInto('audit_checkpoint')
        .values({ sequence, hash, at_ms: atMs, signature })
        .onConflict((conflict) => conflict.column('sequence').doNothing())
        .execute()
    },
    async lastCheckpoint() {
      const row = await checkpoints().orderBy('sequence', 'desc').limit(1).executeTakeFirst()
      return row === undefined ? undefined : toCheckpoint(row)
    },
    async checkpoints() {
      return (await checkpoints().orderBy('sequence').execute()).map(toCheckpoint)
    },
    async after(sequence, limit) {
      const rows = await db
        .selectFrom('audit')
        .selectAll()
        .where('sequence', '>', sequence)
        .orderBy('sequence')
        .limit(limit)
        .execute()
      return rows.map(toRecord)
    },
  }
}
