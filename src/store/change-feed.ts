import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Client } from 'pg'
import type { ClockReading, GuidedClock } from '../core/clock.ts'
import type { Secret } from '../core/secret.ts'
import type { Change } from '../core/store.ts'
import { announced, EVERYTHING } from './changes.ts'
import type { Announce, ChangeFeed, Db } from './engine.ts'
import { type Lease, leaseIsOver, NO_LEASE, openLease } from './lease.ts'
import { joinNodes, type NodeCard, type PostgresNodes } from './node-registry.ts'
import { connectAlone, isNoticeQueueFull, unavailable } from './postgres.ts'

const ROWS_AT_ONCE = 1000
/** Pauses between attempts to connect grow up to this. */
const MAX_PAUSE_MS = 2000
/** Of a lease: how often it is renewed, and how long the question may take that renews it. */
const RENEWALS = 5
const PATIENCE = 2
const FIRST_READINGS = 3
/** How long those wait for the database who ask a node that has just woken up. */
const CATCH_UP_MS = 1000

interface LogRow {
  end: number
  /** Whether the node's beat was counted; 0: others have given it up. */
  beaten: number
  /** The time of the database, where it was asked. */
  now?: number
  sequence: number | null
  subject: Change['subject']
  subject_id: string
}

/** Wakes the other nodes when the transaction that sends it commits. */
export interface Notice {
  channel: string
  payload: string
}

export interface PostgresChangeFeed extends ChangeFeed {
  /** Undefined: none are sent. */
  notice: Notice | undefined
  /** Undefined: this process answers nobody, and is not registered. */
  nodes: PostgresNodes | undefined
}

/** What came after a change; read alone, it writes nothing. */
const LOG = `from counter left join change on change.sequence > $1
  where counter.name = 'change' order by change.sequence limit ${ROWS_AT_ONCE}`
const COLUMNS = 'counter.value as end, change.sequence, change.subject, change.subject_id'
const READ = `select ${COLUMNS}, 1 as beaten ${LOG}`
const DATABASE_NOW = 'cast(floor(extract(epoch from clock_timestamp()) * 1000) as bigint)'
const BEAT = `update node set beats = beats + 1, seen_at_ms = ${DATABASE_NOW}, position = $2
  where id = $3 and gone_at_ms is null returning 1`
/** The beat, the time and the reading are one statement: who is seen alive has seen all that was there then. */
const RENEW = `with beat as (${BEAT})
  select ${COLUMNS}, (select count(*) from beat) as beaten, ${DATABASE_NOW} as now ${LOG}`
/**
 * Tells how far we are. Not worth a sync: forgotten in a crash of the database, it only lets others wait,
 * and no lease hangs on it.
 */
const QUIETLY = `with quick as materialized (select set_config('synchronous_commit', 'off', true)),
  beat as (${BEAT.replace('$2', '$1').replace('$3', '$2')})`
const PUBLISH = `${QUIETLY} select pg_notify($3, $4) from quick, beat`
const PUBLISH_SILENTLY = `${QUIETLY} select 1 from quick, beat`

/**
 * Follows the change log on a connection of its own, so that a busy pool holds nothing up. A notice
 * wakes it, and it looks every `pollMs` anyhow: a lost notice, a dead connection or a restart of the
 * database costs no more than that. The numbers of the log have no gaps, so that a missing one means
 * that rows were pruned before we saw them; then everything counts as changed.
 */
export async function openChangeFeed(options: {
  url: Secret
  waitMs: number
  channel: string
  pollMs: number
  /** Whether notices are sent and listened for; behind some poolers they cannot be. */
  notices: boolean
  db: Db
  card: NodeCard | undefined
  /** Goes by the clock of the database; absent: time is none of ours. */
  clock: GuidedClock | undefined
}): Promise<PostgresChangeFeed> {
  const { channel, pollMs, card, clock } = options
  clock?.guide(await quickestReading(options.db))
  const lease: Lease = card === undefined ? NO_LEASE : openLease(card.leaseMs)
  const renewEveryMs = card === undefined ? Number.POSITIVE_INFINITY : card.leaseMs / RENEWALS
  const maxPauseMs = Math.min(MAX_PAUSE_MS, renewEveryMs / 2)
  let position = 0
  const nodes =
    card === undefined
      ? undefined
      : await joinNodes(options.db, { card, lease, position: () => position })
  const nodeId = nodes?.id ?? randomUUID()
  /** Numbers of changes that this node has announced itself, beyond `position`. */
  const mine = new Set<number>()
  const joinedAtMs = performance.now()
  position = await endOfLog(options.db)
  // Whatever is remembered from here on was read after this.
  lease.renew(joinedAtMs)
  let renewedAtMs = Number.NEGATIVE_INFINITY
  let published = position
  let failures = 0
  let attempt = Promise.withResolvers<void>()
  let announce: Announce = async () => undefined
  let client: Client | undefined
  let isClosed = false
  let isAwake = false
  let wake = () => {}

  function reach(sequence: number): void {
    position = Math.max(position, sequence)
    while (mine.delete(position + 1)) position++
    for (const number of mine) if (number <= position) mine.delete(number)
  }

  async function pull(connection: Client): Promise<void> {
    let renewal: number | undefined
    for (;;) {
      const from = position
      const sentAtMs = performance.now()
      const renews = nodes !== undefined && sentAtMs - renewedAtMs >= renewEveryMs
      const { rows } = renews
        ? await connection.query<LogRow>(RENEW, [from, from, nodeId])
        : await connection.query<LogRow>(READ, [from])
      const receivedAtMs = performance.now()
      const [first] = rows
      if (first?.beaten === 0) {
        // Its log may be from before others stopped waiting for us; the next one cannot be.
        await nodes?.rejoin()
        renewal = undefined
        continue
      }
      await take(rows, from)
      if (renews) {
        if (first?.now !== undefined) {
          clock?.guide({ atMs: first.now, sentAtMs, receivedAtMs })
        }
        renewal = sentAtMs
        renewedAtMs = sentAtMs
      }
      if (rows.length < ROWS_AT_ONCE) break
    }
    // Only now: a node that is still reading what it missed must not answer.
    if (renewal !== undefined) lease.renew(renewal)
  }

  /** Applies what was read beyond `from`. */
  async function take(rows: readonly LogRow[], from: number): Promise<void> {
    const [first] = rows
    if (first === undefined || first.end === from) return
    const isGap = first.sequence !== from + 1
    if (isGap) {
      await announce(EVERYTHING)
      // An older backup was restored, or the rows are pruned: there is nothing to read them from.
      if (first.sequence === null) {
        mine.clear()
        position = first.end < from ? first.end : Math.max(position, first.end)
        return
      }
    }
    const changes = rows.filter(({ sequence }) => sequence !== null && !mine.has(sequence))
    if (changes.length > 0) {
      await announce(announced(changes))
    }
    reach(rows.at(-1)?.sequence ?? from)
  }

  async function publish(connection: Client): Promise<void> {
    if (nodes === undefined || position === published) return
    const reached = position
    if (!options.notices) await connection.query(PUBLISH_SILENTLY, [reached, nodeId])
    else {
      try {
        await connection.query(PUBLISH, [reached, nodeId, channel, `${nodeId} ${reached}`])
      } catch (error) {
        if (!isNoticeQueueFull(error)) throw error
        await connection.query(PUBLISH_SILENTLY, [reached, nodeId])
      }
    }
    published = reached
  }

  async function connected(): Promise<Client> {
    const queryMs = card === undefined ? undefined : card.leaseMs / PATIENCE
    const fresh = await connectAlone(options, queryMs)
    client = fresh
    fresh.on('notification', ({ payload = '' }) => {
      const [from = '', reached] = payload.split(' ')
      if (reached !== undefined) nodes?.reached(from, Number(reached))
      else if (from !== nodeId) wakeUp()
    })
    fresh.on('end', () => {
      if (client === fresh) client = undefined
      wakeUp()
    })
    if (options.notices) await fresh.query(`listen ${channel}`)
    return fresh
  }

  function wakeUp(): void {
    isAwake = true
    wake()
  }

  async function rest(ms: number): Promise<void> {
    if (isAwake || isClosed) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  async function follow(): Promise<void> {
    while (!isClosed) {
      isAwake = false
      try {
        const connection = client ?? (await connected())
        await pull(connection)
        await publish(connection)
        failures = 0
      } catch {
        // Told by whoever asks the database next; here there is only to try again.
        await dropped()
        failures++
      }
      attempt.resolve()
      attempt = Promise.withResolvers()
      await (failures === 0
        ? rest(Math.min(pollMs, renewEveryMs))
        : slept(Math.min(pollMs * 2 ** failures, maxPauseMs)))
    }
  }

  async function dropped(): Promise<void> {
    const broken = client
    client = undefined
    await broken?.end().catch(() => undefined)
  }

  /** Unlike `rest`, not woken by the very loss that it waits after. */
  async function slept(ms: number): Promise<void> {
    isAwake = false
    await rest(ms * (0.5 + Math.random() / 2))
  }

  let following: Promise<void> = Promise.resolve()
  return {
    start(listener) {
      announce = listener
      following = follow()
    },
    async own(changes, end) {
      try {
        await announce(changes)
      } catch (error) {
        // The log has them, so that they are taken in as soon as the database is back.
        throw unavailable('The change is stored, but this node could not take it in yet.', error)
      }
      for (let number = end - changes.length + 1; number <= end; number++) {
        if (number > position) mine.add(number)
      }
      reach(position)
      // To tell the others how far we are.
      if (nodes !== undefined) wakeUp()
    },
    position: () => position,
    isCurrent: lease.isValid,
    async catchUp() {
      // One that was asleep, and may have lost its connection over that, learns at once what it missed;
      // one without a database says so at once.
      const endMs = performance.now() + CATCH_UP_MS
      while (!lease.isValid() && failures <= 1 && performance.now() < endMs) {
        wakeUp()
        await Promise.race([attempt.promise, sleep(CATCH_UP_MS, undefined, { ref: false })])
      }
      if (!lease.isValid()) throw leaseIsOver()
    },
    notice: options.notices ? { channel, payload: nodeId } : undefined,
    nodes,
    async close() {
      isClosed = true
      wakeUp()
      await dropped()
      await following
      // A connection that was being made meanwhile.
      await dropped()
      // Left behind where the database is gone, it is given up after its lease.
      await nodes?.leave().catch(() => undefined)
    },
  }
}

/** The time of the database, as exactly as a few questions tell it: a node begins by it. */
async function quickestReading(db: Db): Promise<ClockReading> {
  const readings: ClockReading[] = []
  for (let i = 0; i < FIRST_READINGS; i++) {
    const sentAtMs = performance.now()
    const { rows } = await sql<{ now: number }>`select ${sql.raw(DATABASE_NOW)} as now`.execute(db)
    readings.push({ atMs: rows[0]?.now ?? 0, sentAtMs, receivedAtMs: performance.now() })
  }
  const wayMs = ({ sentAtMs, receivedAtMs }: ClockReading) => receivedAtMs - sentAtMs
  return readings.reduce((best, each) => (wayMs(each) < wayMs(best) ? each : best))
}

/** Makes the counter, if nothing was ever changed. */
async function endOfLog(db: Db): Promise<number> {
  await sql`insert into counter (name, value) values ('change', 0) on conflict do nothing`.execute(
    db,
  )
  const { value } = await db
    .selectFrom('counter')
    .select('value')
    .where('name', '=', 'change')
    .executeTakeFirstOrThrow()
  return value
}
