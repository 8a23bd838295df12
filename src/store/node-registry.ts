import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type {
  Acknowledgement,
  NodeFacts,
  NodeRegistry,
  Propagation,
} from '../core/nodes/registry.ts'
import type { Db } from './engine.ts'
import type { Lease } from './lease.ts'

/** How a server introduces itself to the others on its database. */
export interface NodeCard {
  version: string
  leaseMs: number
}

/** Clocks that run at different speeds: what others wait beyond a lease, as a share of it. */
const MARGIN = 0.2
/** Of a lease: how often a node looks for silent ones. */
const LOOKS = 5
/** How long the table remembers nodes that are gone. */
const KEEP_GONE_MS = 86_400_000
/** Between two looks at the table while somebody waits and no notice comes. */
const FIRST_PAUSE_MS = 10
const MAX_PAUSE_MS = 50

/** The clock of the database, the only one that all nodes share. */
const NOW = sql<number>`cast(extract(epoch from clock_timestamp()) * 1000 as bigint)`

interface Known {
  position: number
  beats: number
  leaseMs: number
  address: string | null
  /** By our monotonic clock: since when we have seen this number of beats. */
  sinceMs: number
}

/** The registry as the change feed of the same node needs it. */
export interface PostgresNodes extends NodeRegistry {
  readonly id: string
  /** Another node has told by a notice how far it is. */
  reached(id: string, position: number): void
  /** Puts this node back among the living, after others gave it up or removed it. */
  rejoin(): Promise<void>
  leave(): Promise<void>
}

/**
 * Registers this node. Call it before anything is remembered from the database: whoever looks at the
 * table before we are in it has committed before, so that we read what it has changed.
 */
export async function joinNodes(
  db: Db,
  { card, position, lease }: { card: NodeCard; position: () => number; lease: Lease },
): Promise<PostgresNodes> {
  const id = randomUUID()
  const known = new Map<string, Known>()
  const wakers = new Set<() => void>()
  let address: string | null = null
  let draining = 0
  let measures: Propagation | undefined
  let looking: Promise<void> | undefined
  let nextLook: Promise<void> | undefined

  async function rejoin(): Promise<void> {
    await db
      .insertInto('node')
      .values({
        id,
        address,
        draining,
        version: card.version,
        lease_ms: card.leaseMs,
        started_at_ms: NOW,
        seen_at_ms: NOW,
        beats: 0,
        position: position(),
        gone_at_ms: null,
      })
      .onConflict((conflict) =>
        conflict.column('id').doUpdateSet((eb) => ({
          gone_at_ms: null,
          seen_at_ms: NOW,
          beats: eb('node.beats', '+', 1),
        })),
      )
      .execute()
  }

  function wakeAll(): void {
    for (const wake of wakers) wake()
  }

  async function lookNow(): Promise<void> {
    const rows = await db.selectFrom('node').selectAll().where('gone_at_ms', 'is', null).execute()
    const nowMs = performance.now()
    const ids = new Set(rows.map((row) => row.id))
    for (const gone of known.keys()) if (!ids.has(gone)) known.delete(gone)
    for (const row of rows) {
      if (row.id === id) continue
      const before = known.get(row.id)
      known.set(row.id, {
        position: Math.max(row.position, before?.position ?? 0),
        beats: row.beats,
        leaseMs: row.lease_ms,
        address: row.address,
        sinceMs: before?.beats === row.beats ? before.sinceMs : nowMs,
      })
    }
    await buryTheSilent(nowMs)
    wakeAll()
  }

  /**
   * A node whose beats have rested for its lease and a margin, by our own monotonic clock, has stopped
   * answering, however far anybody's clock was stepped meanwhile. The row lock makes this exclusive with
   * a beat under way: either that is seen here, or it finds itself given up, and joins anew before it
   * reads the log and answers again.
   */
  async function buryTheSilent(nowMs: number): Promise<void> {
    for (const [silent, { beats, leaseMs, sinceMs }] of known) {
      if (nowMs - sinceMs <= leaseMs * (1 + MARGIN)) continue
      const buried = await db
        .updateTable('node')
        .set({ gone_at_ms: NOW })
        .where('id', '=', silent)
        .where('beats', '=', beats)
        .where('gone_at_ms', 'is', null)
        .returning('id')
        .execute()
      if (buried.length > 0) known.delete(silent)
    }
  }

  /** A look that begins after this call; those who ask at the same time share one. */
  function look(): Promise<void> {
    if (looking === undefined) {
      looking = lookNow().finally(() => {
        looking = undefined
      })
      return looking
    }
    nextLook ??= looking
      .catch(() => undefined)
      .then(() => {
        nextLook = undefined
        return look()
      })
    return nextLook
  }

  /** Resolves with the next notice, or after `ms`; whether it was a notice. */
  function woken(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (byNotice: boolean) => {
        clearTimeout(timer)
        wakers.delete(wake)
        resolve(byNotice)
      }
      const wake = () => end(true)
      const timer = setTimeout(() => end(false), ms)
      wakers.add(wake)
    })
  }

  /** What a question to the database answers; undefined: nothing in time. */
  const inTime = <T>(answer: Promise<T>, endMs: number): Promise<T | undefined> =>
    Promise.race([
      answer.catch(() => undefined),
      sleep(Math.max(0, endMs - performance.now()), undefined, { ref: false }),
    ])

  /** Looks anew; false: the database does not answer. */
  const looked = async (endMs: number) =>
    (await inTime(
      look().then(() => true),
      endMs,
    )) === true

  async function endOfLog(): Promise<number> {
    const { value } = await db
      .selectFrom('counter')
      .select('value')
      .where('name', '=', 'change')
      .executeTakeFirstOrThrow()
    return value
  }

  async function acknowledged(
    wish: number | 'everything',
    waitMs: number,
  ): Promise<Acknowledgement> {
    const startedMs = performance.now()
    const endMs = startedMs + waitMs
    const heard = new Set<string>()
    const sequence = wish === 'everything' ? await inTime(endOfLog(), endMs) : wish
    const hasIt = (at: number) => sequence !== undefined && at >= sequence
    const secondsSoFar = () => (performance.now() - startedMs) / 1000

    /** Notes who has come so far. */
    function count(): Acknowledgement {
      for (const [node, { position, address }] of known) {
        if (!hasIt(position) || heard.has(node)) continue
        heard.add(node)
        measures?.applied(address ?? 'unknown', secondsSoFar())
      }
      const others = [...known.values()].filter((node) => hasIt(node.position)).length
      // What is our own is in force here since before we ask.
      const ourselves = wish === sequence || hasIt(position()) ? 1 : 0
      return { acknowledged: others + ourselves, nodes: known.size + 1 }
    }

    // Only a list read after our commit is sure to have every node that answers from before it.
    let isListFresh = await looked(endMs)
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2)) {
      const found = count()
      if (isListFresh && found.acknowledged === found.nodes) {
        measures?.acknowledged(secondsSoFar())
        return found
      }
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) {
        const known = isListFresh
          ? found
          : { ...found, acknowledged: Math.min(found.acknowledged, found.nodes - 1) }
        measures?.missed(known)
        return known
      }
      if (!(await woken(Math.min(pauseMs, leftMs))))
        isListFresh = (await looked(endMs)) || isListFresh
    }
  }

  await rejoin()
  const watch = setInterval(() => {
    look().catch(() => undefined)
  }, card.leaseMs / LOOKS)
  watch.unref()
  const prune = sql`delete from node where gone_at_ms < ${NOW} - ${sql.lit(KEEP_GONE_MS)}`
  await prune.execute(db)

  return {
    id,
    acknowledged,
    rejoin,
    reached(node, position) {
      const other = known.get(node)
      if (other === undefined) return
      other.position = Math.max(other.position, position)
      if (wakers.size > 0) wakeAll()
    },
    async list() {
      const rows = await db
        .selectFrom('node')
        .selectAll()
        .orderBy('started_at_ms')
        .orderBy('id')
        .execute()
      return rows.map(
        (row): NodeFacts => ({
          id: row.id,
          address: row.address ?? undefined,
          version: row.version,
          startedAtMs: row.started_at_ms,
          seenAtMs: row.seen_at_ms,
          leaseMs: row.lease_ms,
          position: row.id === id ? position() : row.position,
          state: row.gone_at_ms !== null ? 'gone' : row.draining === 1 ? 'draining' : 'live',
        }),
      )
    },
    async announce(facts) {
      address = facts.address ?? address
      if (facts.draining !== undefined) draining = facts.draining ? 1 : 0
      await db.updateTable('node').set({ address, draining }).where('id', '=', id).execute()
    },
    measure(by) {
      measures = by
    },
    figures() {
      const slowest = Math.min(position(), ...[...known.values()].map((node) => node.position))
      return {
        nodes: known.size + 1,
        lag: Math.max(0, position() - slowest),
        leaseLeftMs: lease.leftMs(),
      }
    },
    async leave() {
      clearInterval(watch)
      await db.deleteFrom('node').where('id', '=', id).execute()
    },
  }
}

/** Of a process that has the database for itself, or answers nobody. */
export function aloneInRegistry(
  card: { version: string; clock: { now(): number }; position: () => number } | undefined,
): NodeRegistry {
  const startedAtMs = card?.clock.now() ?? 0
  const id = card === undefined ? undefined : randomUUID()
  let address: string | undefined
  let draining = false
  return {
    id,
    acknowledged: async () => ({ acknowledged: 1, nodes: 1 }),
    list: async () =>
      id === undefined || card === undefined
        ? []
        : [
            {
              id,
              address,
              version: card.version,
              startedAtMs,
              seenAtMs: card.clock.now(),
              leaseMs: 0,
              position: card.position(),
              state: draining ? 'draining' : 'live',
            },
          ],
    async announce(facts) {
      address = facts.address ?? address
      draining = facts.draining ?? draining
    },
    measure: () => undefined,
    figures: () => ({ nodes: 1, lag: 0, leaseLeftMs: undefined }),
  }
}
