import type { Deps } from '../deps.ts'
import { type Checkpoint, signed } from './checkpoint.ts'

/** Signs how far the chain reaches now and saves it; undefined when nothing happened since the last. */
export async function makeCheckpoint({
  store,
  keyring,
  clock,
}: Deps): Promise<Checkpoint | undefined> {
  const [end, latest] = await Promise.all([store.audit.last(), store.audit.lastCheckpoint()])
  if (end === undefined || end.sequence === latest?.sequence) return undefined
  const checkpoint = signed({ ...end, atMs: clock.now() }, keyring.checkpointKeys())
  await store.transaction((tx) => tx.audit.addCheckpoint(checkpoint))
  return checkpoint
}
