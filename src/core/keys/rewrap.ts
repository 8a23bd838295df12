import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { Secret } from '../secret.ts'
import type { Store } from '../store.ts'
import { inOrder } from './purposes.ts'
import { keySealer } from './sealing.ts'
import type { SealedKey } from './store.ts'

/** Whether the keys in `store` were sealed with `masterKey`; a store without keys fits none. */
export async function masterKeyFits(
  store: Store,
  { masterKey, random }: { masterKey: Secret; random: Random },
): Promise<boolean> {
  return keysFit(await store.keys.all(), { masterKey, random })
}

/** The same of keys however they were read. */
export function keysFit(
  keys: readonly SealedKey[],
  { masterKey, random }: { masterKey: Secret; random: Random },
): boolean {
  const lasting = inOrder(keys)
  return lasting.length > 0 && lasting.every(keySealer(masterKey, random).fits)
}

/**
 * Seals every key anew under another master key, in one transaction: afterwards only `to` opens the
 * database. The keys themselves stay. For a stopped server. Returns how many.
 * Throws `not_configured` (`from` does not fit), `conflict` (somebody changes keys meanwhile).
 */
export async function rewrapKeys(
  { store, random, audit }: Pick<Deps, 'store' | 'random' | 'audit'>,
  { from, to }: { from: Secret; to: Secret },
): Promise<number> {
  const [opener, closer] = [keySealer(from, random), keySealer(to, random)]
  const keys = await store.keys.all()
  const lasting = new Set(inOrder(keys).map(({ id }) => id))
  // A login key lasts for minutes; one that does not open is no reason to stop.
  const wanted = keys.filter((key) => lasting.has(key.id) || opener.fits(key))
  const sealedAnew = wanted.map((key) => ({ key, sealed: closer.seal(key, opener.open(key)) }))
  await store.transaction(async (tx) => {
    for (const { key, sealed } of sealedAnew) {
      if (!(await tx.keys.reseal(key.id, key.sealed, sealed))) throw changed()
    }
    if ((await tx.keys.all()).length !== keys.length) throw changed()
    await audit(
      tx,
      { origin: { ip: undefined, requestId: undefined, via: 'system' } },
      {
        action: 'key.rotated',
        subjectType: 'key',
        subjectId: 'master',
        after: { purpose: 'master', keys: sealedAnew.length },
      },
    )
  })
  return sealedAnew.length
}

function changed(): CoreError {
  return new CoreError(
    'conflict',
    'The keys changed meanwhile, and none was sealed anew. Stop every server on this database first.',
  )
}
