import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import { type KeyFacts, listKeys } from './list.ts'
import { inOrder, type LastingPurpose, purposesOf, type Rotatable } from './purposes.ts'
import type { SealedKey } from './store.ts'

/** Each one costs a look-up of every unknown secret, or a place in what is published. */
const MAX_RETIRED = 20

/**
 * Makes new keys for a purpose. The old ones do no new work from then on, and verify until what was
 * made with them is over (see `purgeKeys`). Two racing rotations have one winner. Returns the keys of
 * that purpose, the new ones first.
 * Throws `forbidden`, `conflict` (somebody was faster, or too many retired keys are still needed).
 */
export async function rotateKeys(
  deps: Deps,
  { caller, purpose }: { caller: Caller; purpose: Rotatable },
): Promise<KeyFacts[]> {
  const { store, keyring, clock, audit } = deps
  mustBeAllowed(caller.principal, 'key.rotate', { what: undefined, policy: deps.policy() })
  const known = inOrder(await store.keys.all())
  const purposes = purposesOf(purpose)
  for (const each of purposes) mustHaveRoom(known.filter((key) => key.purpose === each))
  // What we seal with a master key that is no longer the database's, nobody could ever open.
  if (!known.every(keyring.opens)) throw changed()
  // RSA takes a good part of a second, and the store has one writer.
  const successions = await Promise.all(
    purposes.map(async (each) => ({ old: currentOf(known, each), made: await keyring.make(each) })),
  )
  await store.transaction(async (tx) => {
    const atMs = clock.now()
    for (const { old, made } of successions) {
      const isRetired = await tx.keys.retire(old, atMs)
      if (!isRetired || !(await tx.keys.insert({ ...made, createdAtMs: atMs }))) throw changed()
      await tx.changes.append({ subject: 'key', id: made.id })
      await audit(tx, caller, {
        action: 'key.rotated',
        subjectType: 'key',
        subjectId: made.id,
        before: { keyId: old.id },
        after: { purpose: made.purpose },
      })
    }
  })
  return (await listKeys(deps, caller)).filter((key) => key.purpose === purpose)
}

function currentOf(keys: readonly SealedKey[], purpose: LastingPurpose): SealedKey {
  const key = keys.find((each) => each.purpose === purpose && each.retiredAtMs === undefined)
  if (key === undefined) throw new CoreError('not_configured', `There is no ${purpose} key.`)
  return key
}

function changed(): CoreError {
  return new CoreError('conflict', 'The keys were changed by someone else meanwhile. Look again.')
}

function mustHaveRoom(keys: readonly SealedKey[]): void {
  const retired = keys.filter((key) => key.retiredAtMs !== undefined)
  if (retired.length < MAX_RETIRED) return
  throw new CoreError(
    'conflict',
    `${MAX_RETIRED} retired keys of this purpose are still needed. Wait until what was made with the oldest has ended, or rotate and revoke those tokens.`,
  )
}
