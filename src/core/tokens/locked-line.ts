import type { Repositories } from '../store.ts'
import type { Token } from './token.ts'

/**
 * A token and those it comes from, the nearest first, none of which changes until the transaction ends.
 * Locked from the top down, as everybody does (ADR 18); lock their owner before. Undefined: it is gone.
 */
export async function lockedLine(
  tx: Pick<Repositories, 'lineage' | 'tokens'>,
  { id, parentId }: Pick<Token, 'id' | 'parentId'>,
): Promise<{ token: Token; ancestors: Token[] } | undefined> {
  const line = parentId === undefined ? [] : await tx.lineage.ancestorsOf(parentId)
  const ancestors: Token[] = []
  for (const { id } of line.toReversed()) {
    const ancestor = await tx.tokens.byId(id)
    if (ancestor !== undefined) ancestors.unshift(ancestor)
  }
  const token = await tx.tokens.byId(id)
  return token && { token, ancestors }
}
