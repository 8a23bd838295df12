import { type ControlledTransaction, type Kysely, sql } from 'kysely'
import { CoreError } from '../core/errors.ts'

const MAX_MEMBERS = 100
const MAX_MS = 15

/** One transaction that waits to be committed together with others. */
interface Member<Schema> {
  /** Its queries. What it returns or throws is told once the commit is durable. */
  work: (tx: Kysely<Schema>) => Promise<unknown>
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
}

type Outcome = { value: unknown } | { error: unknown }

/**
 * Runs `work` while no other process writes to the file. SQLite would stop the whole process to wait for
 * another writer; this way only those wait who want to write.
 */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>

/** Runs `work` atomically; resolves or rejects as it does, once everything it saw is durable. */
export type Committer<Schema> = <T>(work: (tx: Kysely<Schema>) => Promise<T>) => Promise<T>

/**
 * Commits transactions that wait at the same time together, because the sync to the disk costs the
 * same for one as for many. Each is a savepoint: one that fails takes back only itself. Nobody hears
 * of success or failure before the common commit, since both may rest on what others of the group
 * have written; when the commit fails, all of them fail.
 *
 * SQLite works synchronously, so each group takes a turn of the event loop of its own and is bounded:
 * others are answered in between: at most 100 transactions, and none is begun after `maxMs`. With several
 * processes on the file, each group waits for its turn.
 */
export function groupCommit<Schema>(
  writer: Kysely<Schema>,
  {
    maxMs = MAX_MS,
    inTurn = (work) => work(),
  }: { maxMs?: number; inTurn?: InTurn | undefined } = {},
): Committer<Schema> {
  const waiting: Member<Schema>[] = []
  let running = false

  async function runAll(): Promise<void> {
    running = true
    while (waiting.length > 0) {
      await nextTurn()
      try {
        await inTurn(runGroup)
      } catch (error) {
        // The turn never came; whoever waits is told, and nothing was begun.
        for (const { reject } of waiting.splice(0)) reject(unavailable(error))
      }
    }
    running = false
  }

  async function runGroup(): Promise<void> {
    const members: Member<Schema>[] = []
    const outcomes: Outcome[] = []
    try {
      const tx = await writer.startTransaction().execute()
      try {
        const endMs = performance.now() + maxMs
        for (let member = waiting.shift(); member !== undefined; member = waiting.shift()) {
          members.push(member)
          outcomes.push(await runMember(member, tx))
          if (members.length === MAX_MEMBERS || performance.now() > endMs) break
        }
        await tx.commit().execute()
      } catch (error) {
        await tx.rollback().execute()
        throw error
      }
    } catch (error) {
      // Where not even a transaction began, the first in line hears why.
      const failed = members.length > 0 ? members : waiting.splice(0, 1)
      for (const { reject } of failed) reject(unavailable(error))
      return
    }
    for (const [i, outcome] of outcomes.entries()) {
      if ('error' in outcome) members[i]?.reject(outcome.error)
      else members[i]?.resolve(outcome.value)
    }
  }

  return <T>(work: (tx: Kysely<Schema>) => Promise<T>) =>
    new Promise<T>((resolve, reject) => {
      // Made and resolved with one and the same T.
      waiting.push({ work, resolve: resolve as (value: unknown) => void, reject })
      if (!running) void runAll()
    })
}

/** Throws when the whole transaction is gone, which a full disk does to it. */
async function runMember<Schema>(
  { work }: Member<Schema>,
  tx: ControlledTransaction<Schema>,
): Promise<Outcome> {
  await sql`savepoint member`.execute(tx)
  try {
    const value = await work(tx)
    await sql`release member`.execute(tx)
    return { value }
  } catch (error) {
    await takeBack(tx, error)
    return { error }
  }
}

async function takeBack<Schema>(tx: ControlledTransaction<Schema>, cause: unknown): Promise<void> {
  try {
    await sql`rollback to member`.execute(tx)
    await sql`release member`.execute(tx)
  } catch {
    throw cause
  }
}

function unavailable(cause: unknown): CoreError {
  if (cause instanceof CoreError && cause.code === 'unavailable') return cause
  return new CoreError('unavailable', 'Nothing was changed. Try again shortly.', {
    cause,
    retryAfterSeconds: 5,
  })
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
