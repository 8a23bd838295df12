import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { type Page, pageOf } from '../page.ts'
import type { ListWish } from '../tokens/read.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { AuditRecord } from './event.ts'
import type { AuditFilter } from './store.ts'
import { type ChainVerdict, verifyChain } from './verify.ts'

/** Records of the audit trail. Throws `forbidden`. */
export async function listAudit(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: ListWish<AuditFilter>,
): Promise<Page<AuditRecord>> {
  mustBeAllowed(caller.principal, 'audit.read', { what: undefined, policy: deps.policy() })
  const rows = await deps.store.audit.list(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (row) => [row.sequence, String(row.sequence)] })
}

/** What was signed of the trail so far, with the key to check it by. Throws `forbidden`. */
export async function listCheckpoints(
  deps: Deps,
  caller: Caller,
): Promise<{ checkpoints: Checkpoint[]; publicKeyPem: string }> {
  mustBeAllowed(caller.principal, 'audit.read', { what: undefined, policy: deps.policy() })
  const { publicKey } = deps.keyring.checkpointKeys()
  return {
    checkpoints: await deps.store.audit.checkpoints(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

export interface AuditProofWish {
  /** Checkpoints kept elsewhere, besides those in the store. */
  checkpoints?: Checkpoint[]
  onProgress?: (records: number) => void
}

/** Recomputes the whole trail and holds it against every checkpoint; see `verifyChain`. */
export async function verifyAudit(
  { store, keyring }: Pick<Deps, 'store' | 'keyring'>,
  { checkpoints = [], onProgress }: AuditProofWish = {},
): Promise<ChainVerdict> {
  return verifyChain({
    after: store.audit.after,
    key: keyring.derived('audit'),
    checkpoints: [...(await store.audit.checkpoints()), ...checkpoints],
    publicKey: keyring.checkpointKeys().publicKey,
    onProgress,
  })
}
