import { randomUUID } from 'node:crypto'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import type { GrantId } from '../core/id.ts'

/**
 * The promises that the engine's safety rests on, tried against the store that is really there before
 * anything is served: what is used once is used once, and naming no grant revokes none.
 * Throws `not_configured`.
 */
export async function selfTest(core: Core): Promise<void> {
  const probe = { model: 'ReplayDetection', id: `self-test:${randomUUID()}` }
  const record = { ...probe, payload: {}, expiresAtMs: core.clock.now() + 60_000 }
  const added = [await core.oauth.addRecord(record), await core.oauth.addRecord(record)]
  const consumed = [await core.oauth.consumeRecord(probe), await core.oauth.consumeRecord(probe)]
  await core.oauth.removeRecord(probe)
  const gone = (await core.oauth.findRecord(probe)) === undefined
  const nobody = await core.oauth.findGrant(probe.id as GrantId)
  const kept = added[0] && !added[1] && consumed[0] && !consumed[1] && gone && nobody === undefined
  if (kept) return
  throw new CoreError(
    'not_configured',
    'The database does not keep what single use of codes rests on. Is it a database that Mintmark supports?',
  )
}
