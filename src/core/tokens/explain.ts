import { can, mustBeVisible } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { notFound } from '../errors.ts'
import type { GrantId } from '../id.ts'
import type { Restraint } from '../policy/restraint.ts'
import type { Owner } from '../rights.ts'
import { secretFault } from '../secret.ts'
import { idleEndMs, policyIdleEndMs } from './checks.ts'
import {
  derivedEndMs,
  type OutsideDemand,
  type Step,
  type Subject,
  stepsOf,
  verdictOf,
} from './explain-steps.ts'
import { type Facts, sentenceOn } from './explain-text.ts'
import type { End, Explanation } from './explanation.ts'
import { type LostRight, lostRights, withheldRights } from './lost-rights.ts'
import { asSigned, mayComeFrom, type Presented, type SignedToken } from './presented.ts'
import { isSuperseded, type Token } from './token.ts'
import type { Verdict } from './verdict.ts'
import type { Inspected, Verifier } from './verify.ts'

export interface Explained {
  /** Exactly what verify would say. */
  verdict: Verdict
  /** Undefined for those who may not hear more than the verdict. */
  explanation: Explanation | undefined
}

export interface ExplainWish {
  presented: Presented
  demand: OutsideDemand
}

/**
 * Why a token is good or not, check by check, and what it could do. Counts no use and writes nothing.
 * Throws `not_found` for an id of what the caller may not see.
 */
export async function explainToken(
  deps: Deps & { verifier: Verifier },
  caller: Caller,
  { presented, demand }: ExplainWish,
): Promise<Explained> {
  const found = await find(deps, presented)
  const policy = deps.policy()
  if ('id' in presented) {
    if (found === undefined) throw notFound('token')
    mustBeVisible(caller.principal, 'token.read', { what: found.token, policy })
  }
  const nowMs = deps.clock.now()
  const steps = stepsOf({ presented, found, demand, nowMs })
  const verdict = verdictOf(steps, { presented, found, nowMs })
  const what = found?.token
  const explanation = can(caller.principal, 'verdict.explain', { what, policy })
    ? await explanationOf(deps, { presented, found, demand, nowMs, steps })
    : undefined
  return { verdict, explanation }
}

function find({ verifier }: { verifier: Verifier }, presented: Presented) {
  if ('id' in presented) return verifier.inspectById(presented.id)
  if ('secret' in presented) {
    const { secret } = presented
    const isReadable = secretFault(secret) === undefined || verifier.mayBeImported(secret)
    return isReadable ? verifier.inspect(secret) : undefined
  }
  return inspectSigned(verifier, presented.signed)
}

async function inspectSigned(
  verifier: Verifier,
  { source }: SignedToken,
): Promise<Inspected | undefined> {
  if (source === undefined) return undefined
  const found = await verifier.inspectById(source.id)
  const { limits, expiresAtMs, audience } = source
  if (found?.entry === undefined || limits === undefined) return found
  // The token itself is shown as it is; only what it could do is within what was signed.
  const { rights } = asSigned(found.entry.principal, { limits, expiresAtMs, audience })
  const { principal, addresses } = found.entry
  const addressesOfBoth = (ip: string) => mayComeFrom(limits, ip) && addresses?.(ip) !== false
  return {
    ...found,
    entry: {
      ...found.entry,
      addresses: limits.allowedIps === null ? addresses : addressesOfBoth,
      principal: { ...principal, rights },
    },
  }
}

async function explanationOf(
  deps: Deps,
  { steps, ...subject }: Subject & { steps: readonly Step[] },
): Promise<Explanation> {
  const { found, presented, demand, nowMs } = subject
  const token = found && deps.usage.overlay(await freshest(deps, found.token))
  const owner = found?.entry && (await deps.loadOwner(found.token.ownerId))
  const end = found && endOf(found, { derivedUntilMs: derivedEndMs(presented), nowMs })
  const facts: Facts = {
    presented,
    demand,
    nowMs,
    token,
    owner,
    rights: found?.entry?.principal.rights,
    idleEndMs: found?.entry && idleEndMs(found.entry),
    policy: found?.entry?.policy,
    policyIdleEndMs: found?.entry && policyIdleEndMs(found.entry),
    budget: found?.entry?.budget,
  }
  return {
    checks: steps.map(({ check, outcome }) => ({
      check,
      outcome,
      detail: sentenceOn(check, outcome, facts),
    })),
    token,
    rights: facts.rights,
    lost: token && owner ? await lostOf(deps, { token, owner, policy: facts.policy }) : [],
    end,
    grant: token?.oauth && (await deps.store.grants.byId(token.familyId as string as GrantId)),
  }
}

/** The cached row is as old as its entry, and its uses are older. */
async function freshest({ store }: Deps, token: Token): Promise<Token> {
  return (await store.tokens.byId(token.id)) ?? token
}

async function lostOf(
  { store }: Deps,
  {
    token: { limits },
    owner,
    policy,
  }: { token: Token; owner: Owner; policy: Restraint | undefined },
): Promise<LostRight[]> {
  const [roles, groups] = await Promise.all([
    store.roles.all(),
    Promise.all((limits.groups ?? []).map(({ id }) => store.groups.byId(id))),
  ])
  const named = groups.flatMap((group) => (group === undefined ? [] : [group]))
  const groupNames = new Map(named.map(({ id, name }) => [id, name]))
  const withheld = policy === undefined ? [] : withheldRights(limits, policy)
  return [...lostRights(limits, owner, { roles, groupNames }), ...withheld]
}

function endOf(
  { token, entry }: Inspected,
  { derivedUntilMs, nowMs }: { derivedUntilMs: number | undefined; nowMs: number },
): End {
  if (token.revokedAtMs !== undefined) return { atMs: token.revokedAtMs, because: 'revoked' }
  if (token.supersededAtMs !== undefined && isSuperseded(token, nowMs)) {
    return { atMs: token.supersededAtMs, because: 'superseded' }
  }
  const ends: End[] = [
    { atMs: token.supersededAtMs, because: 'superseded' },
    { atMs: token.expiresAtMs, because: 'expiry' },
    { atMs: entry && idleEndMs(entry), because: 'idle' },
    { atMs: entry?.policy?.endMs?.value, because: 'policy' },
    { atMs: entry && policyIdleEndMs(entry), because: 'policy' },
    { atMs: derivedUntilMs, because: 'access_token' },
  ]
  return ends.reduce<End>(
    (first, end) =>
      end.atMs !== undefined && end.atMs < (first.atMs ?? Number.POSITIVE_INFINITY) ? end : first,
    { atMs: undefined, because: undefined },
  )
}
