import type { Kysely, Selectable } from 'kysely'
import { sql } from 'kysely'
import type { Origin } from '../core/caller.ts'
import type { JobId, TokenId, UserId } from '../core/id.ts'
import type { BulkAction, Job, JobState } from '../core/jobs/job.ts'
import type { JobStore, Lease } from '../core/jobs/store.ts'
import type { TokenQuery } from '../core/tokens/filter.ts'
import { pageRows } from './keyset.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { BulkJobTable, Schema } from './schema.ts'

function toJob(row: Selectable<BulkJobTable>): Job {
  return {
    id: row.id as JobId,
    action: row.action as BulkAction,
    expiresAtMs: row.new_expires_at_ms ?? undefined,
    query: row.query,
    tokens: JSON.parse(row.filter) as TokenQuery,
    reason: row.reason,
    ownerId: row.owner_id as UserId,
    tokenId: row.token_id as TokenId,
    origin: originOf(row.origin),
    outlivesToken: row.outlives_token === 1,
    state: row.state as JobState,
    problem: row.problem ?? undefined,
    place: row.place === null ? undefined : (JSON.parse(row.place) as Job['place']),
    total: row.total,
    done: row.done,
    changed: row.changed,
    skipped: row.skipped,
    createdAtMs: row.created_at_ms,
    startedAtMs: row.started_at_ms ?? undefined,
    updatedAtMs: row.updated_at_ms,
    finishedAtMs: row.finished_at_ms ?? undefined,
  }
}

/** JSON has no undefined. */
function originOf(json: string): Origin {
  const { ip, requestId, via } = JSON.parse(json) as Origin
  return { ip, requestId, via }
}

const progressOf = (job: Job) => ({
  outlives_token: job.outlivesToken ? 1 : 0,
  state: job.state,
  problem: job.problem ?? null,
  place: job.place === undefined ? null : JSON.stringify(job.place),
  total: job.total,
  done: job.done,
  changed: job.changed,
  skipped: job.skipped,
  started_at_ms: job.startedAtMs ?? null,
  updated_at_ms: job.updatedAtMs,
  finished_at_ms: job.finishedAtMs ?? null,
})

export function jobStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): JobStore {
  const jobs = () => db.selectFrom('bulk_job').selectAll()
  const free = ({ node, nowMs }: Lease) =>
    sql<boolean>`(node is null or node = ${node} or node_until_ms <= ${nowMs})`
  return {
    async insert(job) {
      await db
        .insertInto('bulk_job')
        .values({
          id: job.id,
          action: job.action,
          new_expires_at_ms: job.expiresAtMs ?? null,
          query: job.query,
          filter: JSON.stringify(job.tokens),
          reason: job.reason,
          owner_id: job.ownerId,
          token_id: job.tokenId,
          origin: JSON.stringify(job.origin),
          created_at_ms: job.createdAtMs,
          node: null,
          node_until_ms: null,
          ...progressOf(job),
        })
        .execute()
    },
    async byId(id) {
      const row = await locks.rows(jobs().where('id', '=', id)).executeTakeFirst()
      return row === undefined ? undefined : toJob(row)
    },
    async list({ ownerId, open }, from, size) {
      let query = jobs()
      if (ownerId !== undefined) query = query.where('owner_id', '=', ownerId)
      if (open !== undefined) query = query.where('finished_at_ms', open ? 'is' : 'is not', null)
      return (await pageRows(query, from, size)).map(toJob)
    },
    async countOpen(ownerId) {
      await locks.hold(`jobs:${ownerId}`)
      const { count } = await db
        .selectFrom('bulk_job')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('owner_id', '=', ownerId)
        .where('finished_at_ms', 'is', null)
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async next(lease) {
      const row = await db
        .selectFrom('bulk_job')
        .select('id')
        .where('finished_at_ms', 'is', null)
        .where(free(lease))
        .orderBy('updated_at_ms')
        .limit(1)
        .executeTakeFirst()
      return row?.id as JobId | undefined
    },
    async take(id, lease) {
      const row = await db
        .updateTable('bulk_job')
        .set({ node: lease.node, node_until_ms: lease.untilMs })
        .where('id', '=', id)
        .where('finished_at_ms', 'is', null)
        .where(free(lease))
        .returningAll()
        .executeTakeFirst()
      return row === undefined ? undefined : toJob(row)
    },
    async update(job) {
      await db.updateTable('bulk_job').set(progressOf(job)).where('id', '=', job.id).execute()
    },
    async pick(id, position, tokens) {
      if (tokens.length === 0) return
      const rows = tokens.map((token, i) => ({
        job_id: id,
        position: position + i,
        token_id: token,
      }))
      await db.insertInto('bulk_job_token').values(rows).execute()
    },
    async picked(id, position, size) {
      const rows = await db
        .selectFrom('bulk_job_token')
        .select('token_id')
        .where('job_id', '=', id)
        .where('position', '>=', position)
        .orderBy('position')
        .limit(size)
        .execute()
      return rows.map((row) => row.token_id as TokenId)
    },
    async forget(id, position) {
      await db
        .deleteFrom('bulk_job_token')
        .where('job_id', '=', id)
        .where('position', '<', position)
        .execute()
    },
    async sweep(limit) {
      const { rows } = await sql`delete from bulk_job_token where (job_id, position) in (
        select job_id, position from bulk_job_token
        where job_id in (select id from bulk_job where finished_at_ms is not null)
        limit ${limit}) returning job_id`.execute(db)
      return rows.length
    },
    async purge(finishedBeforeMs, limit) {
      const { rows } = await sql`delete from bulk_job where id in (
        select id from bulk_job where finished_at_ms < ${finishedBeforeMs} and not exists (
          select 1 from bulk_job_token where job_id = bulk_job.id)
        limit ${limit}) returning id`.execute(db)
      return rows.length
    },
  }
}
