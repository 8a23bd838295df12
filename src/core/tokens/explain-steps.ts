import { secretFault } from '../secret.ts'
import type { CacheEntry } from './cache.ts'
import { CHECKS, type CheckName } from './checks.ts'
import type { ExplainedCheck, Outcome } from './explanation.ts'
import { isItself, type Presented, type SignedFault } from './presented.ts'
import { isForTokenEndpoint } from './token.ts'
import type { Demand, Refusal, Verdict } from './verdict.ts'
import { type Inspected, tooOften } from './verify.ts'

/** One check on the way to the verdict. */
export interface Step {
  check: ExplainedCheck
  outcome: Outcome
  /** Of a failed one. */
  refusal?: Refusal
}

/** As verify takes it from outside. */
export type OutsideDemand = Omit<Demand, 'kinds' | 'ignoresBinding'>

/** What is asked of what. */
export interface Subject {
  presented: Presented
  found: Inspected | undefined
  demand: OutsideDemand
  nowMs: number
}

/** Every check there is; the first that failed is the verdict. */
export function stepsOf({ presented, found, demand, nowMs }: Subject): Step[] {
  return [
    ...stringSteps(presented, found),
    knownStep(presented, found),
    ...CHECKS.map(([check, refusalOf]): Step => {
      const entry = found?.entry
      if (entry === undefined) return ownerlessStep(check, found)
      const refusal = refusalOf(entry, demand, nowMs)
      if (refusal !== undefined) return failed(check, refusal)
      return isAsked(check, entry, demand) ? passed(check) : skipped(check)
    }),
    claimsStep({ presented, found, demand }),
    kindStep(found),
  ]
}

/** What can be told from what was presented alone. */
function stringSteps(presented: Presented, found: Inspected | undefined): Step[] {
  if ('id' in presented) return [skipped('format'), skipped('checksum')]
  if ('secret' in presented) return secretSteps(presented.secret, found !== undefined)
  const { fault, source } = presented.signed
  const at = fault === undefined ? SIGNED_CHECKS.length : SIGNED_CHECKS.indexOf(fault)
  return SIGNED_CHECKS.map((check, i) => {
    if (check === fault) return failed(check, 'malformed')
    const isSaid = check !== 'issuer' || source?.isDerived === false
    return i < at && isSaid ? passed(check) : skipped(check)
  })
}

const SIGNED_CHECKS: readonly SignedFault[] = ['format', 'signature', 'issuer', 'times']

function secretSteps(secret: string, isKnown: boolean): Step[] {
  // What was imported is spelled as it was elsewhere.
  const fault = isKnown ? undefined : secretFault(secret)
  if (fault === 'format') return [failed('format', 'malformed'), skipped('checksum')]
  if (fault === 'checksum') return [passed('format'), failed('checksum', 'malformed')]
  return [passed('format'), secret.startsWith('mm_') ? passed('checksum') : skipped('checksum')]
}

function knownStep(presented: Presented, found: Inspected | undefined): Step {
  if (found !== undefined) return passed('known')
  const wasLookedUp =
    'secret' in presented
      ? secretFault(presented.secret) === undefined
      : 'signed' in presented && presented.signed.source !== undefined
  return wasLookedUp ? failed('known', 'unknown') : skipped('known')
}

/** Without an owner nothing else is looked at. */
function ownerlessStep(check: CheckName, found: Inspected | undefined): Step {
  return found !== undefined && check === 'owner' ? failed(check, 'owner_disabled') : skipped(check)
}

/** One that stands for itself must be the very one on record, one of ours must be for who asks. */
function claimsStep({ presented, found, demand }: Omit<Subject, 'nowMs'>): Step {
  const source = 'signed' in presented ? presented.signed.source : undefined
  if (source?.limits !== undefined && found?.entry !== undefined) {
    return source.audience === demand.audience
      ? passed('claims')
      : failed('claims', 'wrong_audience')
  }
  if (source === undefined || source.isDerived || found?.entry === undefined) {
    return skipped('claims')
  }
  return isItself(found.token, source) ? passed('claims') : failed('claims', 'wrong_audience')
}

function kindStep(found: Inspected | undefined): Step {
  if (found?.entry === undefined) return skipped('kind')
  return isForTokenEndpoint(found.token.kind) ? failed('kind', 'wrong_kind') : passed('kind')
}

/** Whether a check that was not failed had anything to look at. */
function isAsked(check: CheckName, entry: CacheEntry, demand: OutsideDemand): boolean {
  const { saved: token, policy, budget } = entry
  switch (check) {
    case 'idle':
      return token.idleSeconds !== undefined
    case 'addresses':
      return token.limits.allowedIps !== null
    case 'policy':
      return (policy?.endMs ?? policy?.idleSeconds ?? policy?.addresses) !== undefined
    case 'audience':
      return token.oauth !== undefined
    case 'proof':
      return token.oauth?.boundKey !== undefined
    case 'role':
    case 'scope':
    case 'group':
      return demand[check] !== undefined
    case 'rate':
      return budget !== undefined
    case 'state':
    case 'expiry':
    case 'quarantine':
    case 'owner':
      return true
  }
}

const passed = (check: ExplainedCheck): Step => ({ check, outcome: 'passed' })
const skipped = (check: ExplainedCheck): Step => ({ check, outcome: 'skipped' })
const failed = (check: ExplainedCheck, refusal: Refusal): Step => ({
  check,
  outcome: 'failed',
  refusal,
})

/** What verify would say. */
export function verdictOf(
  steps: readonly Step[],
  { presented, found, nowMs }: Pick<Subject, 'presented' | 'found' | 'nowMs'>,
): Verdict {
  const reason = steps.find(({ refusal }) => refusal !== undefined)?.refusal
  const principal = found?.entry?.principal
  if (reason === undefined && principal !== undefined) {
    const derivedUntilMs = derivedEndMs(presented)
    if (derivedUntilMs === undefined) return { active: true, principal }
    return { active: true, principal: { ...principal, derivedUntilMs } }
  }
  if (reason === 'rate_limited' && found?.entry !== undefined) return tooOften(found.entry, nowMs)
  // What is not read as a token of ours, or is none, stands for nobody.
  const isNobodys = reason === 'malformed' || isBorrowed(steps)
  return {
    active: false,
    reason: reason ?? 'unknown',
    principal: isNobodys ? undefined : principal,
  }
}

function isBorrowed(steps: readonly Step[]): boolean {
  return steps.find(({ outcome }) => outcome === 'failed')?.check === 'claims'
}

/** When an access token ends that stands for another token. */
export function derivedEndMs(presented: Presented): number | undefined {
  const source = 'signed' in presented ? presented.signed.source : undefined
  return source?.isDerived === true ? source.expiresAtMs : undefined
}
