import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import type { TokenId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { finishOverlap, moveOverlap, overlapEnd } from './overlap.ts'
import { isBeingRotated, stateOf, type Token } from './token.ts'
import { mergedCallers } from './usage.ts'
import type { CallerUse } from './use.ts'
import { visible } from './visible.ts'

/** A rotated token and the one that took its place. */
export interface RotatedPair {
  old: Token
  successor: Token
}

/**
 * Ends an overlap early: the old secret is dead when this returns, and so is what was derived from it.
 * `id` is that of the old token or its successor. Throws `not_found`, `forbidden`, `conflict`.
 */
export async function finishRotation(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: TokenId },
): Promise<RotatedPair> {
  const { old } = await runningRotation(deps, tx, { caller, id })
  await finishOverlap(deps, tx, { actor: caller, old })
  return rotatedPair(tx, old.id)
}

/**
 * Moves the end of an overlap to so many seconds from now, as far as the old token's own end allows.
 * Throws `not_found`, `forbidden`, `conflict`, `invalid_input` for an end that is no later.
 */
export async function extendRotation(
  deps: Deps,
  tx: Repositories,
  { caller, id, overlapSeconds }: { caller: Caller; id: TokenId; overlapSeconds: number },
): Promise<RotatedPair> {
  const { old } = await runningRotation(deps, tx, { caller, id })
  const endsAtMs = overlapEnd(old, { seconds: overlapSeconds, nowMs: deps.clock.now() })
  const endedAtMs = old.supersededAtMs ?? 0
  if (endsAtMs <= endedAtMs) {
    throw new CoreError(
      'invalid_input',
      endedAtMs === old.expiresAtMs
        ? `The overlap lasts until the old token expires, ${instant(endedAtMs)}, and cannot last longer.`
        : `The overlap lasts until ${instant(endedAtMs)} already. Ask for more seconds from now, or finish the rotation.`,
    )
  }
  await moveOverlap(deps, tx, { old, endsAtMs })
  await deps.audit(tx, caller, {
    action: 'token.rotation_extended',
    subjectType: 'token',
    subjectId: old.id,
    before: { overlapEndsAtMs: endedAtMs },
    after: { overlapEndsAtMs: endsAtMs, successorId: old.supersededBy },
  })
  return rotatedPair(tx, old.id)
}

async function runningRotation(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: TokenId },
): Promise<RotatedPair> {
  const token = visible(deps, caller, await tx.tokens.byId(id))
  mustBeAllowed(caller.principal, 'token.rotate', { what: token, policy: deps.policy() })
  const pair = await pairOf(tx, token)
  if (isBeingRotated(pair.old, deps.clock.now())) return pair
  const { supersededAtMs, revokedAtMs } = pair.old
  throw new CoreError(
    'conflict',
    `The old secret stopped at ${instant(revokedAtMs ?? supersededAtMs ?? 0)}. There is nothing left to finish or extend.`,
  )
}

/**
 * The rotation in which a token is the old one, else that in which it is the successor. Throws
 * `not_found`.
 */
async function pairOf(tx: Repositories, token: Token): Promise<RotatedPair> {
  const isOld = token.supersededBy !== undefined
  const old = isOld ? token : await tx.tokens.predecessorOf(token)
  if (old === undefined || isOauth(old)) {
    throw new CoreError('not_found', 'The token has not been rotated. Rotate it first.')
  }
  return rotatedPair(tx, old.id)
}

const isOauth = ({ oauth }: Token) => oauth !== undefined

async function rotatedPair(tx: Repositories, id: TokenId): Promise<RotatedPair> {
  const old = await tx.tokens.byId(id)
  const successor =
    old?.supersededBy === undefined ? undefined : await tx.tokens.byId(old.supersededBy)
  if (old === undefined || successor === undefined) throw notFound('token')
  return { old, successor }
}

const instant = (ms: number) => new Date(ms).toISOString()

/** How long nobody must have used the old secret before it is taken for forgotten. */
const SAFE_SILENCE_MS = 3_600_000

/** A rotation and who still uses what. */
export interface Rotation extends RotatedPair {
  /** When the old secret stops or stopped, whatever the reason. */
  endsAtMs: number
  oldCallers: CallerUse[]
  newCallers: CallerUse[]
  /** Since the old secret was last used, or ever since it was made. */
  silentForSeconds: number
  safeToFinish: boolean
  /** Why it is safe to finish, or what speaks against it. */
  reason: string
}

/** Throws `not_found`, also for what the caller may not see. */
export async function getRotation(deps: Deps, caller: Caller, id: TokenId): Promise<Rotation> {
  const pair = await pairOf(deps.store, visible(deps, caller, await deps.store.tokens.byId(id)))
  const old = deps.usage.overlay(pair.old)
  const successor = deps.usage.overlay(pair.successor)
  const nowMs = deps.clock.now()
  const [oldCallers, newCallers] = await Promise.all([
    callersOf(deps, old.id),
    callersOf(deps, successor.id),
  ])
  const silentMs = Math.max(0, nowMs - (old.lastUsedAtMs ?? old.createdAtMs))
  return {
    old,
    successor,
    endsAtMs: Math.min(old.revokedAtMs ?? Number.POSITIVE_INFINITY, old.supersededAtMs ?? nowMs),
    oldCallers,
    newCallers,
    silentForSeconds: Math.floor(silentMs / 1000),
    ...adviceOn({ old, successor, silentMs, nowMs }),
  }
}

/** Of what is written and what is not yet; the latest first. */
async function callersOf({ store, usage }: Deps, id: TokenId): Promise<CallerUse[]> {
  const pending = usage.callersOf(id)
  const known = await store.use.callersOf(id)
  return mergedCallers([...known, ...pending]).toSorted((a, b) => b.lastUsedAtMs - a.lastUsedAtMs)
}

function adviceOn({
  old,
  successor,
  silentMs,
  nowMs,
}: RotatedPair & { silentMs: number; nowMs: number }): { safeToFinish: boolean; reason: string } {
  const advice = (safeToFinish: boolean, reason: string) => ({ safeToFinish, reason })
  if (!isBeingRotated(old, nowMs)) return advice(true, 'The old secret has stopped already.')
  const successorState = stateOf(successor, nowMs)
  if (successorState !== 'active') {
    return advice(false, `The successor is ${successorState}: nothing would be left that works.`)
  }
  const isUsed = old.lastUsedAtMs !== undefined
  if (isUsed && silentMs < SAFE_SILENCE_MS) {
    const from = old.lastUsedIp === undefined ? '' : ` from ${old.lastUsedIp}`
    return advice(false, `The old secret was used ${ago(silentMs)} ago${from}.`)
  }
  if (successor.lastUsedAtMs === undefined) {
    return advice(false, 'Nobody has used the new secret yet.')
  }
  return advice(
    true,
    isUsed
      ? `Nobody has used the old secret for ${ago(silentMs)}, and the new one is in use.`
      : 'Nobody has ever used the old secret, and the new one is in use.',
  )
}

function ago(ms: number): string {
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 1) return 'less than a minute'
  if (minutes < 120) return minutes === 1 ? 'a minute' : `${minutes} minutes`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`
}
