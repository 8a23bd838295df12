import type { Caller } from '../caller.ts'
import type { Clock } from '../clock.ts'
import type { Principal } from '../rights.ts'
import { firstRefusal } from './checks.ts'
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
  const { derivedUntilMs } = principal
  if (derivedUntilMs === undefined) return found.entry.principal
  return derivedUntilMs <= nowMs ? undefined : { ...found.entry.principal, derivedUntilMs }
}
