import { type ControlledTransaction, type Kysely, sql } from 'kysely'
import { CoreError } from '../core/errors.ts'
import { type Asker, line, nobody } from './line.ts'

const MAX_MEMBERS = 100
const MAX_MS = 15
/** Changes that wait at most, and for how long. */
const MAX_WAITING = 1000
const WAIT_MS = 5000

/** One transaction that waits to be committed together with others. */
interface Member<Schema> {
  /** Its queries. What it returns or throws is told once the commit is durable. */
  work: (tx: Kysely<Schema>) => Promise<unknown>
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
  asker: Asker
}

type Outcome = { value: unknown } | { error: unknown }

/**
 * Runs `work` while no other process writes to the file. SQLite would stop the whole process to wait for
 * another writer; this way only those wait who want to write.
 */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>

/** How what waits is chosen from; the defaults make no difference between changes. */
export interface Queueing {
  /** For whom something is asked for now; undefined: nobody waits for it. */
  asker?: (() => Asker | undefined) | undefined
  /** Whether others wait for their turn, too: then writing rests as long as it works. */
  isStrained?: (() => boolean) | undefined
  /** Called with each change that is turned away because too many wait, or it has waited too long. */
  onTurnedAway?: (() => void) | undefined
}

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
 * processes on the file, each group waits for its turn. What waits is bounded (see `line`); whoever is
 * turned away gets `unavailable`.
 */
export function groupCommit<Schema>(
  writer: Kysely<Schema>,
  {
    maxMs = MAX_MS,
    inTurn = (work) => work(),
    onCommit = () => undefined,
    asker = () => undefined,
    isStrained = () => false,
    onTurnedAway = () => undefined,
  }: { maxMs?: number; inTurn?: InTurn | undefined; onCommit?: () => void } & Queueing = {},
): Committer<Schema> {
  const waiting = line<Member<Schema>>(
    { max: MAX_WAITING, waitMs: WAIT_MS, firstWaitMs: Number.POSITIVE_INFINITY },
    turnAway,
  )
  let running = false

  function turnAway({ reject }: Member<Schema>): void {
    onTurnedAway()
    reject(tooMany())
  }

  async function runAll(): Promise<void> {
    running = true
    while (!waiting.isEmpty()) {
      await nextTurn()
      const beganMs = performance.now()
      try {
        await inTurn(runGroup)
      } catch (error) {
        // The turn never came; whoever waits is told, and nothing was begun.
        for (const { reject } of waiting.all()) reject(unavailable(error))
      }
      if (isStrained()) await pause(performance.now() - beganMs)
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
        for (let member = waiting.next(); member !== undefined; member = waiting.next()) {
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
      const failed = members.length > 0 ? members : [waiting.next()]
      for (const member of failed) member?.reject(unavailable(error))
      return
    }
    for (const [i, outcome] of outcomes.entries()) {
      if ('error' in outcome) members[i]?.reject(outcome.error)
      else members[i]?.resolve(outcome.value)
    }
    onCommit()
  }

  return <T>(work: (tx: Kysely<Schema>) => Promise<T>) =>
    new Promise<T>((resolve, reject) => {
      // Made and resolved with one and the same T.
      const member = {
        work,
        resolve: resolve as (value: unknown) => void,
        reject,
        asker: asker() ?? nobody(),
      }
      if (!waiting.join(member, member.asker)) turnAway(member)
      else if (!running) void runAll()
    })
}

/** Throws when the whole transaction is gone, which a full disk does to it. */
async function runMember<Schema>(
  { work, asker }: Member<Schema>,
  tx: ControlledTransaction<Schema>,
): Promise<Outcome> {
  asker.hasBegun = true
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

function tooMany(): CoreError {
  return new CoreError(
    'unavailable',
    'Too many changes are waiting. Nothing was changed. Try again shortly.',
    { retryAfterSeconds: 2, isToldOnce: true },
  )
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
