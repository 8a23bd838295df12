import { mustBeAllowed } from '../access.ts'
import { boundExpiry, mustBeWithin } from '../bounds.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId } from '../id.ts'
import { mustBeCreator } from '../policy/enforce.ts'
import { restrained, restraintOf } from '../policy/restraint.ts'
import { termsFor } from '../policy/terms.ts'
import type { Owner } from '../rights.ts'
import type { Repositories } from '../store.ts'
import {
  expiryOf,
  type Issued,
  saveToken,
  standsFor,
  type TokenDraft,
  type TokenWish,
} from './issue.ts'
import { hasLineage, underAncestors } from './lineage.ts'
import { lockedLine } from './locked-line.ts'
import { finishPredecessors, overlapEnd } from './overlap.ts'
import { revokeDerived } from './revoke.ts'
import { isOauthKind, stateOf, type Token, type Via } from './token.ts'
import { visible } from './visible.ts'

export interface RotationWish {
  id: TokenId
  /** Absent: the old token's end stays, unless the policy gives less by now. */
  expires?: TokenWish['expires']
  /** How long the old secret goes on beside the new one. 0: not at all. Absent: as the policy says. */
  overlapSeconds?: number
}

/**
 * Replaces a token by a successor with the same rights, name and serial. The old secret goes on until
 * the overlap ends, and then stops by itself, as does what was derived from it; without an overlap with
 * the commit, and then the new secret is the only one of its family. Two racing rotations have one
 * winner, the other gets `conflict`. Throws `not_found`, `forbidden`, `beyond_rights`, `beyond_policy`,
 * `token_not_active`, `conflict`, `invalid_input`.
 */
export async function rotateToken(
  deps: Deps,
  tx: Repositories,
  { caller, wish, via }: { caller: Caller; wish: RotationWish; via: Via },
): Promise<Issued> {
  const policy = deps.policy()
  const nowMs = deps.clock.now()
  const { old, ancestors, owner } = await lockedForRotation(deps, tx, { caller, id: wish.id })
  mustBeAllowed(caller.principal, 'token.rotate', { what: old, policy })
  if (old.kind === 'session') {
    throw new CoreError('invalid_input', 'A login session is not rotated. Log in again instead.')
  }
  if (isOauthKind(old.kind)) {
    throw new CoreError(
      'invalid_input',
      'The client of an OAuth token refreshes it; nobody else can rotate it.',
    )
  }
  const bound = (token: Token) => (hasLineage(token) ? underAncestors(token, ancestors) : token)
  const state = stateOf(restrained(bound(old), await restraintOf(policy, tx, old)), nowMs)
  if (state !== 'active' || owner === undefined) {
    throw new CoreError(
      'token_not_active',
      `The token is ${state} and cannot be rotated. Create a new one.`,
    )
  }
  const terms = termsFor(policy, { kind: old.kind, groups: owner.groups })
  mustBeCreator(caller.principal, terms)
  mustNotBeSuperseded(old)
  const endsAtMs = overlapEnd(old, {
    seconds: wish.overlapSeconds ?? policy.rotationOverlapSeconds,
    nowMs,
  })
  // Whoever rotates learns the new secret, so the token must not reach further than the caller's own.
  mustBeWithin(old.limits, caller.principal.token.limits)
  const wanted =
    wish.expires === undefined
      ? earliest(old.expiresAtMs, expiryOf('never', { terms, nowMs }))
      : expiryOf(wish.expires, { terms, nowMs })
  const expiresAtMs = boundExpiry(wanted, {
    creator: await standsFor(deps, tx, caller.principal.token),
    explicit: typeof wish.expires === 'number',
  })
  const id = deps.newId() as TokenId
  if (!(await tx.tokens.supersede(old.id, { by: id, atMs: nowMs, endsAtMs }))) {
    throw new CoreError('conflict', 'The token was changed by someone else meanwhile. Look again.')
  }
  await tx.changes.append({ subject: 'token', id: old.id })
  const isAtOnce = endsAtMs <= nowMs
  if (isAtOnce) {
    await revokeDerived(deps, tx, { actor: caller, id: old.id, reason: 'token rotated' })
    await finishPredecessors(deps, tx, { actor: caller, token: old })
  } else {
    for (const derived of await tx.tokens.endDerived(old.id, { endsAtMs, atMs: nowMs })) {
      await tx.changes.append({ subject: 'token', id: derived })
    }
  }
  return saveToken(deps, tx, {
    id,
    actor: caller,
    ownerId: old.ownerId,
    creatorId: caller.principal.user.id,
    creatorTokenId: caller.principal.token.id,
    kind: old.kind,
    name: old.name,
    description: old.description,
    limits: old.limits,
    expiresAtMs: bound({ ...old, expiresAtMs }).expiresAtMs,
    ...(old.idleSeconds === undefined ? {} : { idleSeconds: old.idleSeconds }),
    metadata: old.metadata,
    via,
    format: formatAfter(old),
    successorOf: old,
    ...(isAtOnce ? {} : { overlapEndsAtMs: endsAtMs }),
  })
}

/**
 * The token, and those it comes from, the nearest first. Locked like everything (ADR 18): the owner, then the
 * line from the top down. So a parent that is rotated meanwhile has either ended already, or finds the
 * successor. Throws `not_found`.
 */
async function lockedForRotation(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: TokenId },
): Promise<{ old: Token; ancestors: readonly Token[]; owner: Owner | undefined }> {
  const seen = visible(deps, caller, await tx.tokens.glance(id))
  const owner = await deps.loadOwner(seen.ownerId, tx)
  const line = await lockedLine(tx, seen)
  const old = visible(deps, caller, line?.token)
  return { old, ancestors: line?.ancestors ?? [], owner }
}

/** That of the old secret, unless somebody else made that up. */
function formatAfter({ format }: Token): TokenDraft['format'] {
  return format === 'chosen' || format === 'imported' ? 'mintmark' : format
}

/** Of an active token. Throws `conflict`. */
function mustNotBeSuperseded({ supersededAtMs, supersededBy }: Token): void {
  if (supersededAtMs === undefined) return
  const end = new Date(supersededAtMs).toISOString()
  throw new CoreError(
    'conflict',
    supersededBy === undefined
      ? `The token ends at ${end} with the one it was derived from, which is being rotated. Derive a new one from its successor.`
      : `The token is being rotated until ${end}. Finish that rotation first, or rotate its successor ${supersededBy}.`,
  )
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
}
