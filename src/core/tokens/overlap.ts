import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Repositories } from '../store.ts'
import { revokeDerived } from './revoke.ts'
import { isBeingRotated, type Token } from './token.ts'

/** Whoever has not taken over the new secret in a month has forgotten about it. */
export const MAX_OVERLAP_SECONDS = 30 * 86_400

/**
 * When an overlap of so many seconds from now ends: never later than the old token does by itself.
 * Throws `invalid_input`.
 */
export function overlapEnd(
  { expiresAtMs }: Pick<Token, 'expiresAtMs'>,
  { seconds, nowMs }: { seconds: number; nowMs: number },
): number {
  if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds > MAX_OVERLAP_SECONDS) {
    throw new CoreError(
      'invalid_input',
      `The overlap must be a whole number of seconds from 0 to ${MAX_OVERLAP_SECONDS}.`,
    )
  }
  return Math.min(nowMs + seconds * 1000, expiresAtMs ?? Number.POSITIVE_INFINITY)
}

/** Moves the end of an overlap, for the old token and all that ends with it. */
export async function moveOverlap(
  deps: Deps,
  tx: Repositories,
  { old, endsAtMs }: { old: Token; endsAtMs: number },
): Promise<void> {
  const atMs = deps.clock.now()
  const hit = await tx.tokens.moveOverlap(old, { endsAtMs, atMs })
  for (const id of [...hit, ...(old.supersededBy === undefined ? [] : [old.supersededBy])]) {
    await tx.changes.append({ subject: 'token', id })
  }
}

/** Ends the overlap of a token that is being rotated: its old secret is dead with the commit. */
export async function finishOverlap(
  deps: Deps,
  tx: Repositories,
  { actor, old }: { actor: Caller; old: Token },
): Promise<void> {
  const nowMs = deps.clock.now()
  await moveOverlap(deps, tx, { old, endsAtMs: nowMs })
  await revokeDerived(deps, tx, { actor, id: old.id, reason: 'rotation finished' })
  await deps.audit(tx, actor, {
    action: 'token.rotation_finished',
    subjectType: 'token',
    subjectId: old.id,
    before: { overlapEndsAtMs: old.supersededAtMs },
    after: { overlapEndsAtMs: nowMs, successorId: old.supersededBy },
  })
}

/** The same for all earlier tokens of a lineage that still overlap. */
export async function finishPredecessors(
  deps: Deps,
  tx: Repositories,
  { actor, token }: { actor: Caller; token: Token },
): Promise<void> {
  const nowMs = deps.clock.now()
  let before = await tx.tokens.predecessorOf(token)
  while (before !== undefined) {
    if (isBeingRotated(before, nowMs)) await finishOverlap(deps, tx, { actor, old: before })
    before = await tx.tokens.predecessorOf(before)
  }
}
