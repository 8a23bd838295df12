import type { Caller } from '../caller.ts'
import type { Clock } from '../clock.ts'
import type { Principal } from '../rights.ts'
import { firstRefusal } from './checks.ts'
import { asSigned } from './sign.ts'
import type { Verifier } from './verify.ts'

/**
 * Who a caller is by now, for an answer that goes on for long; undefined: the credential is good no
 * more. Counts no use.
 */
export async function stillHolds(
  { verifier, clock }: { verifier: Verifier; clock: Clock },
  { principal, origin }: Caller,
): Promise<Principal | undefined> {
  const found = await verifier.inspectById(principal.token.id)
  if (found?.entry === undefined) return undefined
  const nowMs = clock.now()
  const demand = origin.ip === undefined ? {} : { ip: origin.ip }
  if (firstRefusal(found.entry, demand, nowMs) !== undefined) return undefined
  const { derivedUntilMs: expiresAtMs, derivedFor: audience } = principal
  if (expiresAtMs === undefined) return found.entry.principal
  if (expiresAtMs <= nowMs) return undefined
  // What is left of the token, and never more than was signed of it.
  return asSigned(found.entry.principal, { limits: principal.token.limits, expiresAtMs, audience })
}
