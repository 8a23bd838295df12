import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Client } from 'pg'
import type { Secret } from '../core/secret.ts'
import { ANY, type Change } from '../core/store.ts'
import type { Announce, ChangeFeed, Db } from './engine.ts'
import { connectAlone, unavailable } from './postgres.ts'

const ROWS_AT_ONCE = 1000
/** Pauses between attempts to connect grow up to this. */
const MAX_PAUSE_MS = 2000

/** What is announced when the log no longer tells what changed: everything. */
const EVERYTHING: readonly Change[] = (
  ['role', 'group', 'client', 'policy', 'key', 'import'] as const
).map((subject) => ({ subject, id: ANY }))

interface LogRow {
  end: number
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
  notice: Notice
}

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
  db: Db
}): Promise<PostgresChangeFeed> {
  const { channel, pollMs } = options
  const nodeId = randomUUID()
  /** Numbers of changes that this node has announced itself, beyond `position`. */
  const mine = new Set<number>()
  let position = await endOfLog(options.db)
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
    for (;;) {
      const from = position
      const { rows } = await connection.query<LogRow>(
        `select counter.value as end, change.sequence, change.subject, change.subject_id
         from counter left join change on change.sequence > $1
         where counter.name = 'change' order by change.sequence limit ${ROWS_AT_ONCE}`,
        [from],
      )
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
        await announce(
          changes.map(({ subject, subject_id }) => ({ subject, id: subject_id }) as Change),
        )
      }
      reach(rows.at(-1)?.sequence ?? from)
      if (rows.length < ROWS_AT_ONCE) return
    }
  }

  async function connected(): Promise<Client> {
    const fresh = await connectAlone(options)
    client = fresh
    fresh.on('notification', ({ payload }) => {
      if (payload !== nodeId) wakeUp()
    })
    fresh.on('end', () => {
      if (client === fresh) client = undefined
      wakeUp()
    })
    await fresh.query(`listen ${channel}`)
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
    let failures = 0
    while (!isClosed) {
      isAwake = false
      try {
        await pull(client ?? (await connected()))
        failures = 0
      } catch {
        // Told by whoever asks the database next; here there is only to try again.
        await dropped()
        failures++
      }
      await (failures === 0 ? rest(pollMs) : slept(Math.min(pollMs * 2 ** failures, MAX_PAUSE_MS)))
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
    },
    position: () => position,
    notice: { channel, payload: nodeId },
    async close() {
      isClosed = true
      wakeUp()
      await dropped()
      await following
      // A connection that was being made meanwhile.
      await dropped()
    },
  }
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
