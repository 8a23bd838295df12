import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { UserId } from '../id.ts'

/** How long attempts that were reserved but never decided, because we crashed, hold up the next. */
const UNDECIDED_MS = 60_000

/**
 * Counts the attempt before `look` looks at the password, so that parallel guesses cannot outrun the
 * counter; a right password clears it. An attempt that gets no look, because too many wait for theirs,
 * does not count. Throws `too_many_requests` while the account is locked, and what `look` throws.
 */
export async function countedLook<T>(
  deps: Deps,
  account: string,
  look: () => Promise<T>,
): Promise<T> {
  const isCounted = deps.policy().lockoutEnabled
  if (isCounted) await reserveAttempt(deps, account)
  try {
    return await look()
  } catch (error) {
    if (isCounted) await giveBackAttempt(deps, account)
    throw error
  }
}

async function giveBackAttempt({ store }: Deps, account: string): Promise<void> {
  await store.transaction(async (tx) => {
    const known = await tx.lockouts.get(account)
    if (known === undefined || known.lockedUntilMs !== undefined || known.failures === 0) return
    await tx.lockouts.put(
      account,
      { failures: known.failures - 1, lockedUntilMs: undefined },
      known.atMs,
    )
  })
}

/** Throws `too_many_requests` while the account is locked. */
async function reserveAttempt(deps: Deps, account: string): Promise<void> {
  const { lockoutAttempts } = deps.policy()
  await deps.store.transaction(async (tx) => {
    const nowMs = deps.clock.now()
    const known = await tx.lockouts.get(account)
    const lockedUntilMs = known?.lockedUntilMs ?? 0
    if (lockedUntilMs > nowMs) throw tooMany(Math.ceil((lockedUntilMs - nowMs) / 1000))
    const startsAnew =
      known === undefined || known.lockedUntilMs !== undefined || known.failures === 0
    const failures = startsAnew ? 0 : known.failures
    const undecided = failures >= lockoutAttempts
    if (undecided && known !== undefined && known.atMs > nowMs - UNDECIDED_MS) throw tooMany(1)
    // One more guess after that, which locks when it is wrong: starting anew would give away a full round.
    await tx.lockouts.put(
      account,
      { failures: undecided ? failures : failures + 1, lockedUntilMs: undefined },
      nowMs,
    )
  })
}

function tooMany(retryAfterSeconds: number): CoreError {
  return new CoreError('too_many_requests', 'Too many wrong passwords. Try again later.', {
    retryAfterSeconds,
  })
}

/** Audits a failed login, and locks the account when this failure used up what the policy allows. */
export async function recordFailure(
  deps: Deps,
  fact: { account: string; userId: UserId | undefined; origin: Origin },
): Promise<void> {
  const { lockoutEnabled, lockoutAttempts, lockoutSeconds } = deps.policy()
  await deps.store.transaction(async (tx) => {
    const nowMs = deps.clock.now()
    const known = await tx.lockouts.get(fact.account)
    const locks =
      lockoutEnabled &&
      known?.lockedUntilMs === undefined &&
      (known?.failures ?? 0) >= lockoutAttempts
    if (locks) {
      const lockedUntilMs = nowMs + lockoutSeconds * 1000
      await tx.lockouts.put(fact.account, { failures: lockoutAttempts, lockedUntilMs }, nowMs)
    }
    await deps.audit(
      tx,
      { origin: fact.origin },
      {
        action: locks ? 'login.locked' : 'login.failed',
        subjectType: 'user',
        // Not the typed name: people type passwords into that field.
        subjectId: fact.userId ?? 'unknown',
      },
    )
  })
}
