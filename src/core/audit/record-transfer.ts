import type { Deps } from '../deps.ts'
import type { AuditAction } from './event.ts'

export interface Transfer {
  action: Extract<AuditAction, 'server.moved' | 'server.restored'>
  after: Record<string, unknown>
}

/** Writes to the audit trail that the installation was moved or restored. */
export async function recordTransfer(
  { store, audit }: Pick<Deps, 'store' | 'audit'>,
  { action, after }: Transfer,
): Promise<void> {
  await store.transaction(async (tx) => {
    // What was signed before may come from what has ended since: none of it is taken any more.
    if (action === 'server.restored') await tx.changes.append({ subject: 'policy', id: 'policy' })
    await audit(
      tx,
      { origin: { ip: undefined, requestId: undefined, via: 'system' } },
      { action, subjectType: 'server', subjectId: 'installation', after },
    )
  })
}
