import { type Kysely, sql } from 'kysely'
import type { TokenId } from '../core/id.ts'
import { keyOf, MAX_CALLERS, mergedCallers, type Use } from '../core/tokens/usage.ts'
import {
  type CallerUse,
  OTHERS,
  STEP_MS,
  USE_STEPS,
  type UseOutcome,
  type UseStep,
} from '../core/tokens/use.ts'
import type { UseBy, UseRow, UseStore } from '../core/tokens/use-store.ts'
import type { Locks } from './locks.ts'
import type { RotationCallerTable, Schema, UseCountTable } from './schema.ts'
import { conditionOf } from './token-conditions.ts'

/** Rows of one statement; each has five parameters, and SQLite takes 32,766. */
const ROWS = 1000

/** How often tokens are used, on a connection. */
export function useStore(db: Kysely<Schema>, locks: Locks): UseStore {
  /** In one order everywhere, so that two nodes do not wait for each other. */
  async function add(rows: UseCountTable[]): Promise<void> {
    const sorted = summed(rows)
    for (let i = 0; i < sorted.length; i += ROWS) {
      await db
        .insertInto('use_count')
        .values(sorted.slice(i, i + ROWS))
        .onConflict((conflict) =>
          conflict
            .columns(['token_id', 'step', 'start_ms', 'outcome'])
            .doUpdateSet({ count: sql<number>`use_count.count + excluded.count` }),
        )
        .execute()
    }
  }

  async function addCallers({ tokenId, callers }: Use): Promise<void> {
    if (callers === undefined || callers.size === 0) return
    const known = await callersOf(tokenId)
    const keys = new Set(known.map(keyOf))
    const named = [...callers.values()].map((caller) => {
      const isRoom = keys.has(keyOf(caller)) || keys.size < MAX_CALLERS
      keys.add(keyOf(isRoom ? caller : OTHERS))
      return isRoom ? caller : { ...caller, ...OTHERS }
    })
    const sorted = mergedCallers(named).toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
    await db
      .insertInto('rotation_caller')
      .values(sorted.map((caller) => callerRow(tokenId, caller)))
      .onConflict((conflict) =>
        conflict.columns(['token_id', 'ip', 'agent', 'via']).doUpdateSet({
          uses: sql<number>`rotation_caller.uses + excluded.uses`,
          first_used_at_ms: sql<number>`case when rotation_caller.first_used_at_ms
            < excluded.first_used_at_ms then rotation_caller.first_used_at_ms
            else excluded.first_used_at_ms end`,
          last_used_at_ms: sql<number>`case when rotation_caller.last_used_at_ms
            > excluded.last_used_at_ms then rotation_caller.last_used_at_ms
            else excluded.last_used_at_ms end`,
        }),
      )
      .execute()
  }

  async function callersOf(id: TokenId): Promise<CallerUse[]> {
    const rows = await db
      .selectFrom('rotation_caller')
      .selectAll()
      .where('token_id', '=', id)
      .orderBy('last_used_at_ms', 'desc')
      .execute()
    return rows.map((row) => ({
      ip: row.ip,
      agent: row.agent,
      via: row.via as CallerUse['via'],
      uses: row.uses,
      firstUsedAtMs: row.first_used_at_ms,
      lastUsedAtMs: row.last_used_at_ms,
    }))
  }

  return {
    async add(uses) {
      await add(uses.flatMap(minuteRows))
      for (const use of uses.toSorted((a, b) => (a.tokenId < b.tokenId ? -1 : 1))) {
        await addCallers(use)
      }
    },
    callersOf,
    async series(id, { fromMs, toMs, stepMs }) {
      const { rows } = await sql<{ start_ms: number; outcome: UseOutcome; count: number }>`
        select start_ms - start_ms % ${sql.lit(stepMs)} as start_ms, outcome, sum(count) as count
        from use_count where token_id = ${id} and step in ('minute', 'hour', 'day')
          and start_ms >= ${fromMs} and start_ms < ${toMs}
        group by 1, 2 order by 1, 2`.execute(db)
      return rows.map(({ start_ms, outcome, count }) => ({
        startMs: Number(start_ms),
        outcome,
        count: Number(count),
      }))
    },
    async *figures({ fromMs, toMs, stepMs, by, tokens, nowMs }) {
      const value = sql.ref(VALUE_COLUMNS[by])
      const labels =
        by === 'group'
          ? sql`left join token_label as label on label.token_id = token.id and label.type = 'group'`
          : sql``
      for (const { step, from, until } of partsOf(fromMs, toMs)) {
        const { rows } = await sql<UseFigureRow>`
          select ${value} as value, use_count.start_ms - use_count.start_ms % ${sql.lit(stepMs)}
            as at_ms, use_count.outcome as outcome, sum(use_count.count) as count
          from use_count cross join token ${labels}
          where use_count.step = ${step} and use_count.start_ms >= ${from}
            and use_count.start_ms < ${until} and token.id = use_count.token_id
            and ${conditionOf(tokens, nowMs)}
          group by 1, 2, 3`.execute(db)
        for (const { value, at_ms, outcome, count } of rows) {
          yield { value, startMs: Number(at_ms), outcome, count: Number(count) }
        }
        if (rows.length > 0) await nextTurn()
      }
    },
    async oldest(step, beforeMs, limit) {
      const rows = await locks
        .rows(
          db
            .selectFrom('use_count')
            .selectAll()
            .where('step', '=', step)
            .where('start_ms', '<', beforeMs),
        )
        .orderBy('start_ms')
        .orderBy('token_id')
        .orderBy('outcome')
        .limit(limit)
        .execute()
      return rows.map((row) => ({
        tokenId: row.token_id as TokenId,
        startMs: row.start_ms,
        outcome: row.outcome as UseOutcome,
        count: row.count,
      }))
    },
    async remove(step, rows) {
      for (let i = 0; i < rows.length; i += ROWS) {
        const keys = rows
          .slice(i, i + ROWS)
          .map(
            ({ tokenId, startMs, outcome }) =>
              sql`(${tokenId}, cast(${startMs} as bigint), ${outcome})`,
          )
        await sql`delete from use_count where step = ${step}
          and (token_id, start_ms, outcome) in (values ${sql.join(keys)})`.execute(db)
      }
    },
    put: (step, rows) => add(rows.map((row) => rowOf(step, row))),
    async forgetCallers(beforeMs) {
      await db.deleteFrom('rotation_caller').where('last_used_at_ms', '<', beforeMs).execute()
    },
  }
}

interface UseFigureRow {
  value: string | null
  at_ms: number
  outcome: UseOutcome
  count: number
}

const VALUE_COLUMNS = {
  token: 'token.id',
  owner: 'token.owner_id',
  group: 'label.value',
  kind: 'token.kind',
} as const satisfies Record<UseBy, string>

/** SQLite works while everybody waits, so a long question lets others go first after each part. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** How much of a step is counted in one go. */
const PART_MS: Readonly<Record<UseStep, number>> = {
  minute: STEP_MS.hour,
  hour: STEP_MS.day,
  day: 30 * STEP_MS.day,
}

function* partsOf(fromMs: number, toMs: number) {
  for (const step of USE_STEPS) {
    for (let from = fromMs; from < toMs; from += PART_MS[step]) {
      yield { step, from, until: Math.min(from + PART_MS[step], toMs) }
    }
  }
}

function minuteRows({ tokenId, minutes }: Use): UseCountTable[] {
  return minutes.flatMap(({ startMs, uses, refusals }) => [
    ...(uses === 0 ? [] : [rowOf('minute', { tokenId, startMs, outcome: 'used', count: uses })]),
    ...[...(refusals ?? [])].map(([outcome, count]) =>
      rowOf('minute', { tokenId, startMs, outcome, count }),
    ),
  ])
}

function rowOf(step: UseStep, { tokenId, startMs, outcome, count }: UseRow): UseCountTable {
  return { token_id: tokenId, step, start_ms: startMs, outcome, count }
}

/** One row for each key, because no statement may change a row twice; sorted by it. */
function summed(rows: readonly UseCountTable[]): UseCountTable[] {
  const byKey = new Map<string, UseCountTable>()
  for (const row of rows) {
    const key = `${row.token_id} ${row.step} ${row.start_ms} ${row.outcome}`
    const same = byKey.get(key)
    if (same === undefined) byKey.set(key, { ...row })
    else same.count += row.count
  }
  return [...byKey].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
}

function callerRow(tokenId: TokenId, caller: CallerUse): RotationCallerTable {
  return {
    token_id: tokenId,
    ip: caller.ip,
    agent: caller.agent,
    via: caller.via,
    uses: caller.uses,
    first_used_at_ms: caller.firstUsedAtMs,
    last_used_at_ms: caller.lastUsedAtMs,
  }
}
