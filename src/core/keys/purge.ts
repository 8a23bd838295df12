import type { Deps } from '../deps.ts'
import { inOrder, isOver } from './purposes.ts'

const SYSTEM = { origin: { ip: undefined, requestId: undefined, via: 'system' } } as const

/**
 * Deletes retired keys that nothing needs any more: signing keys when their overlap has ended, peppers
 * when moreover nothing that could be presented was digested under them. Returns how many.
 */
export async function purgeKeys({ store, clock, audit }: Deps): Promise<number> {
  const nowMs = clock.now()
  const over = inOrder(await store.keys.all()).filter((key) => isOver(key, nowMs))
  if (over.length === 0) return 0
  return store.transaction(async (tx) => {
    let purged = 0
    for (const { id, purpose } of over) {
      const isGone =
        purpose === 'pepper' ? await tx.keys.removeUnused(id, nowMs) : await tx.keys.remove(id)
      if (!isGone) continue
      await tx.changes.append({ subject: 'key', id })
      await audit(tx, SYSTEM, {
        action: 'key.purged',
        subjectType: 'key',
        subjectId: id,
        before: { purpose },
      })
      purged++
    }
    return purged
  })
}
