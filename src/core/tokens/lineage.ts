import { modeCovers } from '../groups/group.ts'
import type { TokenId } from '../id.ts'
import { commonRanges } from '../ip.ts'
import type { GroupLimit, Limits, Token } from './token.ts'

/** What the domain needs to know of who comes from whom. */
export interface LineageStore {
  /** Parent, its parent and so on, the nearest first. Ends where a row is missing. */
  ancestorsOf(parentId: TokenId): Promise<Token[]>
  /** All that comes from the token, itself left out: at most `limit`, parents before their children. */
  below(id: TokenId, limit: number): Promise<Token[]>
  /** Live tokens of kind `api` that come from the token directly. */
  countChildren(id: TokenId, nowMs: number): Promise<number>
  /** Live tokens of kind `api` that come from the token at all; counts no further than `limit`. */
  countBelow(id: TokenId, nowMs: number, limit: number): Promise<number>
}

/** A token as those it comes from let it be, and who they are, the nearest first. */
export interface Descent {
  token: Token
  ancestorIds: readonly TokenId[]
}

const NOBODY: readonly TokenId[] = []

/** Whether a token's rights hang on the present state of the one it comes from. */
export function hasLineage({ kind, parentId }: Token): boolean {
  return parentId !== undefined && (kind === 'api' || kind === 'session')
}

/**
 * The token that remains when every ancestor's limits and ends are applied to it, so that whoever decides
 * about it need not know of them. It is dead where an ancestor is, or where one is missing: what cannot be
 * shown to be alive is not.
 */
export async function descentOf(
  { lineage }: { lineage: LineageStore },
  token: Token,
): Promise<Descent> {
  if (!hasLineage(token) || token.parentId === undefined) return { token, ancestorIds: NOBODY }
  const ancestors = await lineage.ancestorsOf(token.parentId)
  return { token: underAncestors(token, ancestors), ancestorIds: ancestors.map(({ id }) => id) }
}

/** See `descentOf`; `ancestors`, the nearest first. */
export function underAncestors(token: Token, ancestors: readonly Token[]): Token {
  const root = ancestors.at(-1)
  const isBroken = root === undefined || root.parentId !== undefined
  const ended = ancestors.find(({ revokedAtMs }) => revokedAtMs !== undefined)
  const endedAtMs = ended?.revokedAtMs ?? (isBroken ? 0 : undefined)
  // An ancestor that was rotated away gives nothing any more from then on.
  const ends = ancestors.flatMap(({ expiresAtMs, supersededAtMs }) => [expiresAtMs, supersededAtMs])
  const known = [token.expiresAtMs, ...ends].filter((end) => end !== undefined)
  return {
    ...token,
    limits: ancestors.reduce((limits, ancestor) => narrowed(limits, ancestor.limits), token.limits),
    expiresAtMs: known.length === 0 ? undefined : Math.min(...known),
    revokedAtMs: token.revokedAtMs ?? endedAtMs,
    quarantinedAtMs:
      token.quarantinedAtMs ??
      ancestors.find(({ quarantinedAtMs }) => quarantinedAtMs !== undefined)?.quarantinedAtMs,
  }
}

/** What both allow. */
export function narrowed(limits: Limits, outer: Limits): Limits {
  return {
    accessLevel: outer.accessLevel === 'READ_ONLY' ? 'READ_ONLY' : limits.accessLevel,
    roles: common(limits.roles, outer.roles),
    groups: commonGroups(limits.groups, outer.groups),
    scopes: common(limits.scopes, outer.scopes),
    allowedIps:
      limits.allowedIps === null || outer.allowedIps === null
        ? (limits.allowedIps ?? outer.allowedIps)
        : commonRanges(limits.allowedIps, outer.allowedIps),
  }
}

function common(list: readonly string[] | null, outer: readonly string[] | null) {
  if (list === null || outer === null) return list ?? outer
  return list.filter((each) => outer.includes(each))
}

function commonGroups(list: Limits['groups'], outer: Limits['groups']): Limits['groups'] {
  if (list === null || outer === null) return list ?? outer
  return list.flatMap(({ id, mode }): GroupLimit[] => {
    const bound = outer.find((group) => group.id === id)
    if (bound === undefined) return []
    return [{ id, mode: modeCovers(bound.mode, mode) ? mode : bound.mode }]
  })
}
