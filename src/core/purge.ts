import { inBatches } from './batches.ts'
import type { Deps } from './deps.ts'
import { purgeKeys } from './keys/purge.ts'
import type { Repositories } from './store.ts'
import { rollUpUse } from './tokens/roll-up.ts'

const BATCH = 200
/** Longer than any node may lag behind the change log. */
const CHANGE_LOG_TTL_MS = 3_600_000
/** Longer than any delivery is tried, or a follower stays away. What happened stays in the audit trail. */
const EVENT_TTL_MS = 30 * 86_400_000
const LOCKOUT_TTL_MS = 30 * 86_400_000

/** Deletes what retention no longer keeps, in small batches. Returns how many tokens went. */
export async function purge(deps: Deps): Promise<number> {
  const { store, clock, policy } = deps
  const nowMs = clock.now()
  const endedBeforeMs = nowMs - policy().retentionSeconds * 1000
  const purged = await purgeTokens(deps, endedBeforeMs)
  await store.transaction(async (tx) => {
    await tx.idempotency.purge(nowMs)
    await tx.rates.purge(nowMs)
    await tx.lockouts.purge(nowMs - LOCKOUT_TTL_MS)
    await tx.changes.prune(nowMs - CHANGE_LOG_TTL_MS)
    await tx.keys.purge('xms-login', nowMs - CHANGE_LOG_TTL_MS)
  })
  await purgeBy(deps, (tx) => tx.jobs.sweep(BATCH))
  await purgeBy(deps, (tx) => tx.jobs.purge(endedBeforeMs, BATCH))
  await purgeBy(deps, (tx) => tx.events.purge(nowMs - EVENT_TTL_MS, BATCH))
  await purgeBy(deps, (tx) => tx.oauthRecords.purge(nowMs, BATCH))
  await purgeBy(deps, (tx) => tx.grants.purge(endedBeforeMs, BATCH))
  // After the tokens, which may have been the last to need a pepper.
  await purgeKeys(deps)
  await rollUpUse(deps)
  return purged
}

async function purgeTokens(deps: Deps, endedBeforeMs: number): Promise<number> {
  return purgeBy(deps, async (tx) => {
    const count = await tx.tokens.purge(endedBeforeMs, BATCH)
    if (count === 0) return 0
    await deps.audit(
      tx,
      { origin: { ip: undefined, requestId: undefined, via: 'system' } },
      { action: 'token.purged', subjectType: 'server', subjectId: 'retention', after: { count } },
    )
    return count
  })
}

/** Returns how many went. */
function purgeBy(
  { store, clock }: Deps,
  batch: (tx: Repositories) => Promise<number>,
): Promise<number> {
  return inBatches(clock, BATCH, () => store.transaction(batch))
}
