import { can, mustBeAllowed } from '../access.ts'
import { boundExpiry } from '../bounds.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId } from '../id.ts'
import { mustBeCreator } from '../policy/enforce.ts'
import { restrained, restraintOf } from '../policy/restraint.ts'
import { termsFor } from '../policy/terms.ts'
import type { Repositories } from '../store.ts'
import { boundLimits, expiryOf, type Issued, mustBeActive, saveToken } from './issue.ts'
import { underAncestors } from './lineage.ts'
import { lockedLine } from './locked-line.ts'
import { getToken } from './read.ts'
import { type Limits, stateOf, type Token, type Via } from './token.ts'

/** What is left out is the parent's. */
export interface ChildWish {
  name?: string
  description?: string
  limits: Partial<Limits>
  /** Epoch milliseconds; absent: as long as the parent, and the policy, allow. */
  expiresAtMs?: number
  metadata?: Record<string, unknown>
}

/** A child of a child and so on: how many steps lead from a token to what it comes from first. */
const MAX_DEPTH = 5
/** Live children of one token. */
const MAX_CHILDREN = 100
/** Live tokens that come from one token at all, so that killing it stays one short statement. */
const MAX_TREE = 1000

/**
 * A token mints a narrower one with its own secret, for the same owner. The child is within the parent's
 * limits and end now and later, and dies with it.
 * Throws `forbidden`, `beyond_rights` (names what), `beyond_policy` (names the rule), `conflict` (too deep, too many), `token_not_active`,
 * `name_taken`, `invalid_input`.
 */
export async function issueChild(
  deps: Deps,
  tx: Repositories,
  { caller, wish, via }: { caller: Caller; wish: ChildWish; via: Via },
): Promise<Issued> {
  const { principal } = caller
  const policy = deps.policy()
  const nowMs = deps.clock.now()
  mustBeAllowed(principal, 'token.delegate', { what: undefined, policy })
  // The owner first, then the tokens from the top down: the order in which everybody locks.
  const owner = await deps.loadOwner(principal.user.id, tx)
  if (owner === undefined) throw new CoreError('not_found', 'There is no such owner.')
  mustBeActive(owner)
  const line = await lockedLine(tx, principal.token)
  if (line === undefined) throw new CoreError('token_not_active', 'The token is gone.')
  const { token, ancestors } = line
  const bound = token.parentId === undefined ? token : underAncestors(token, ancestors)
  const parent = restrained(bound, await restraintOf(policy, tx, principal.token))
  if (stateOf(parent, nowMs) !== 'active') {
    throw new CoreError('token_not_active', 'The token that was to be the parent has ended.')
  }
  await mustHaveRoom(tx, principal, nowMs)
  const limits = boundLimits(openWhereSilent(wish.limits, parent.limits), {
    creator: parent.limits,
    owner,
  })
  const terms = termsFor(policy, { kind: 'api', groups: owner.groups })
  mustBeCreator(principal, terms)
  const wanted = expiryOf(wish.expiresAtMs ?? 'never', { terms, nowMs })
  const id = deps.newId() as TokenId
  return saveToken(deps, tx, {
    id,
    actor: caller,
    ownerId: owner.user.id,
    creatorId: owner.user.id,
    creatorTokenId: parent.id,
    parentId: parent.id,
    kind: 'api',
    name: wish.name ?? nameFor(parent, id),
    ...(wish.description === undefined ? {} : { description: wish.description }),
    limits,
    expiresAtMs: boundExpiry(wanted, {
      // Where the parent is being rotated, the store lets the child end with it, however long that takes.
      creator: { ...parent, supersededAtMs: undefined },
      explicit: wish.expiresAtMs !== undefined,
    }),
    ...(parent.idleSeconds === undefined ? {} : { idleSeconds: parent.idleSeconds }),
    metadata: wish.metadata ?? {},
    via,
    format: 'mintmark',
  })
}

/** What is left open is inherited, whether or not the owner holds all of it now. */
export function openWhereSilent(wanted: Partial<Limits>, { accessLevel }: Limits): Limits {
  return { accessLevel, roles: null, groups: null, scopes: null, allowedIps: null, ...wanted }
}

async function mustHaveRoom(
  tx: Repositories,
  { token, ancestorIds = [] }: Caller['principal'],
  nowMs: number,
): Promise<void> {
  if (ancestorIds.length >= MAX_DEPTH) {
    throw new CoreError(
      'conflict',
      `A line of tokens is ${MAX_DEPTH} steps long at most. Let one nearer to its beginning mint the child.`,
    )
  }
  if ((await tx.lineage.countChildren(token.id, nowMs)) >= MAX_CHILDREN) {
    throw new CoreError(
      'conflict',
      `A token has ${MAX_CHILDREN} live children at most. Revoke some, or give them shorter lives.`,
    )
  }
  const root = ancestorIds.at(-1) ?? token.id
  if ((await tx.lineage.countBelow(root, nowMs, MAX_TREE)) >= MAX_TREE) {
    throw new CoreError(
      'conflict',
      `${MAX_TREE} live tokens at most come from one. Revoke some, or give them shorter lives.`,
    )
  }
}

/** Names of live tokens differ, and jobs that run side by side have no better one to offer. */
function nameFor({ name }: Token, id: TokenId): string {
  return `${(name ?? 'token').slice(0, 200)} / ${id.slice(-12)}`
}

/** A token between those it comes from and those that come from it. */
export interface Tree {
  /** Where it all begins, first. */
  ancestors: Token[]
  token: Token
  /** Parents before their children. */
  descendants: Token[]
  /** Whether there are more than are shown. */
  more: boolean
}

/** Throws `not_found`, also for what the caller may not see. */
export async function getTree(deps: Deps, caller: Caller, id: TokenId): Promise<Tree> {
  const token = await getToken(deps, caller, id)
  const { lineage } = deps.store
  const above = token.parentId === undefined ? [] : await lineage.ancestorsOf(token.parentId)
  const below = await lineage.below(id, MAX_TREE + 1)
  const policy = deps.policy()
  // One owner has them all today; whoever changes that must not show other people's tokens.
  const seen = (tokens: Token[]) =>
    tokens
      .filter((what) => can(caller.principal, 'token.read', { what, policy }))
      .map(deps.usage.overlay)
  return {
    ancestors: seen(above.toReversed()),
    token,
    descendants: seen(below.slice(0, MAX_TREE)),
    more: below.length > MAX_TREE,
  }
}
