import { CoreError } from '../errors.ts'
import type { Store } from '../store.ts'
import { LASTING_PURPOSES, type LastingPurpose, purposesOf } from './purposes.ts'
import type { KeySealer } from './sealing.ts'
import type { SealedKey } from './store.ts'

/** Databases of earlier releases have none of these; nothing was made with them yet. */
const ADDABLE: ReadonlySet<LastingPurpose> = new Set([...purposesOf('oauth'), ...purposesOf('jwt')])

/**
 * Makes all keys of a new database, and those that an older release did not know. Several nodes may do
 * so at once: the store keeps one current key per purpose, and the others' are dropped.
 * Throws `not_configured` when other keys are missing from a database that is in use, and when the
 * master key does not fit those that are there.
 */
export async function makeMissing({
  store,
  sealer,
  make,
}: {
  store: Store
  sealer: KeySealer
  make: (purpose: LastingPurpose) => Promise<SealedKey>
}): Promise<void> {
  // Users first: another node may be setting up the database, and it makes the keys before them.
  const users = await store.users.countAll()
  const keys = await store.keys.all()
  const missing = missingFrom(keys)
  if (missing.length === 0) return
  const isInUse = users > 0 || missing.length < LASTING_PURPOSES.length
  if (isInUse && !missing.every((purpose) => ADDABLE.has(purpose))) {
    throw new CoreError(
      'not_configured',
      'Keys are missing from a database that is in use. Restore it from a backup; new keys would make every token in it useless.',
    )
  }
  // What a wrong master key has sealed, the right one could never open.
  for (const key of keys) sealer.open(key)
  const made = await Promise.all(missing.map(make))
  await store.transaction(async (tx) => {
    for (const key of made) {
      if (await tx.keys.insert(key)) await tx.changes.append({ subject: 'key', id: key.id })
    }
  })
}

function missingFrom(keys: SealedKey[]): LastingPurpose[] {
  const isCurrent = (key: SealedKey) => key.retiredAtMs === undefined
  const there = new Set<string>(keys.filter(isCurrent).map(({ purpose }) => purpose))
  return LASTING_PURPOSES.filter((purpose) => !there.has(purpose))
}
