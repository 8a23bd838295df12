import type { Caller } from '../caller.ts'
import type { Clock } from '../clock.ts'
import { least } from '../policy/restraint.ts'
import { narrowRights, type Principal } from '../rights.ts'
import { firstRefusal } from './checks.ts'
import { narrowed } from './lineage.ts'
import type { Verifier } from './verify.ts'

/**
 * Who a caller is by now, for what takes long; undefined: the credential is good no more. No use of the
 * token, because the request itself was counted, and allowed: one that was used too often since is good.
 */
export async function stillHolds(
  { verifier, clock }: { verifier: Verifier; clock: Clock },
  { principal, origin }: Caller,
): Promise<Principal | undefined> {
  const found = await verifier.inspectById(principal.token.id)
  if (found?.entry === undefined) return undefined
  const nowMs = clock.now()
  const demand = origin.ip === undefined ? {} : { ip: origin.ip }
  const refusal = firstRefusal(found.entry, demand, nowMs)
  if (refusal !== undefined && refusal !== 'rate_limited') return undefined
  const now = found.entry.principal
  const { token, derivedUntilMs } = principal
  if (derivedUntilMs === undefined) return now
  if (derivedUntilMs <= nowMs) return undefined
  // What is left of the token, and never more than its signed one had of it.
  return {
    ...principal,
    user: now.user,
    token: {
      ...now.token,
      limits: narrowed(now.token.limits, token.limits),
      expiresAtMs: least(now.token.expiresAtMs, token.expiresAtMs),
    },
    rights: narrowRights(now.rights, token.limits),
  }
}
