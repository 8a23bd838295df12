import { addressTest } from '../ip.ts'
import type { Budget } from '../policy/rate.ts'
import { unclearText } from '../policy/restraint.ts'
import type { Rate } from '../policy/rule.ts'
import { namedBy, type Term } from '../policy/terms.ts'
import { hasGroup, holdsScope, type Owner, type Rights } from '../rights.ts'
import type { PolicyHold } from './cache.ts'
import type { ExplainedCheck, Outcome } from './explanation.ts'
import type { Presented } from './presented.ts'
import { isOauthKind, type Token } from './token.ts'
import type { Demand } from './verdict.ts'

/** All that the sentences speak of. */
export interface Facts {
  presented: Presented
  demand: Demand
  nowMs: number
  token: Token | undefined
  /** Undefined: gone. */
  owner: Owner | undefined
  rights: Rights | undefined
  /** When the token ends by standing idle. */
  idleEndMs: number | undefined
  /** What the policy forbids the token. */
  policy: PolicyHold | undefined
  /** When the policy ends the token for standing idle. */
  policyIdleEndMs: number | undefined
  budget: Budget | undefined
}

/** What a check found and what to do about it, in a sentence or two for people. */
export function sentenceOn(check: ExplainedCheck, outcome: Outcome, facts: Facts): string {
  if (outcome === 'skipped' && !ABOUT_THE_STRING.has(check)) {
    if (facts.token === undefined) return 'There is no token to look at.'
    if (facts.owner === undefined) return 'Not looked at, because the owner is gone.'
  }
  return SENTENCES[check][outcome](facts)
}

const ABOUT_THE_STRING = new Set<ExplainedCheck>([
  'format',
  'checksum',
  'signature',
  'issuer',
  'times',
  'known',
])

type Sentences = Record<Outcome, (facts: Facts) => string>

const NOTHING_PRESENTED = 'Asked by id; no secret was presented.'
const NOT_REACHED = 'Not looked at, because an earlier check failed.'
const isById = ({ presented }: Facts) => 'id' in presented
const isSigned = ({ presented }: Facts) => 'signed' in presented

/** By check; what is said of `skipped` is why nothing asked for it. */
const SENTENCES: Record<ExplainedCheck, Sentences> = {
  format: {
    passed: (facts) =>
      isSigned(facts)
        ? 'It is written like an access token that this server signs.'
        : 'It is written like a secret that Mintmark knows.',
    failed: (facts) =>
      isSigned(facts)
        ? 'It is no access token as this server signs them. Present the token itself, not an ID token or one of another server.'
        : 'It is not written like any secret of ours. Look for characters that are missing or too many, and copy it again from where it is kept.',
    skipped: () => NOTHING_PRESENTED,
  },
  checksum: {
    passed: () => 'Its last six characters fit the rest, so it was copied whole.',
    failed: () =>
      'Its last six characters do not fit the rest: a character was changed. Copy it again from where it is kept.',
    skipped: (facts) =>
      isById(facts) ? NOTHING_PRESENTED : 'Only secrets that begin with mm_ have a checksum.',
  },
  signature: {
    passed: () => 'It was signed with a key of this server.',
    failed: () =>
      'No key of this server has signed it, or it was changed afterwards. Get a new access token here.',
    skipped: () => NOT_REACHED,
  },
  issuer: {
    passed: () => 'Its issuer is this server.',
    failed: () =>
      'It names another issuer than the public URL of this server. Get a new access token here, or see whether MINTMARK_PUBLIC_URL was changed.',
    skipped: (facts) =>
      signedFault(facts) === undefined || signedFault(facts) === 'times'
        ? 'Access tokens of this kind name no issuer.'
        : NOT_REACHED,
  },
  times: {
    passed: (facts) => `It is good until ${instant(signedEndMs(facts))}.`,
    failed: timesFailed,
    skipped: () => NOT_REACHED,
  },
  known: {
    passed: () => 'The token is on record.',
    failed: (facts) =>
      isSigned(facts)
        ? 'The token that it names is no longer kept. Get a new access token.'
        : 'No token has this secret: it was issued by another server, or ended so long ago that it is no longer kept. Check which server it is for.',
    skipped: () => 'Not looked up, because it cannot be one of ours.',
  },
  state: {
    passed: statePassed,
    failed: stateFailed,
    skipped: () => NOT_REACHED,
  },
  expiry: {
    passed: ({ token }) =>
      token?.expiresAtMs === undefined
        ? 'It never expires.'
        : `It expires at ${instant(token.expiresAtMs)}. Rotate or replace it before.`,
    failed: ({ token }) =>
      `It expired at ${instant(token?.expiresAtMs)}. ${token?.kind === 'session' ? 'Log in again.' : 'Create a new one.'}`,
    skipped: () => NOT_REACHED,
  },
  quarantine: {
    passed: () => 'It is not quarantined.',
    failed: quarantineFailed,
    skipped: () => NOT_REACHED,
  },
  idle: {
    passed: ({ idleEndMs }) =>
      `It ends at ${instant(idleEndMs)} unless it is used before; each use puts that off.`,
    failed: ({ idleEndMs }) =>
      `Nobody used it in time: it ended at ${instant(idleEndMs)}. Log in again, or create a new one.`,
    skipped: () => 'It may stand idle for as long as it lives.',
  },
  owner: {
    passed: ({ owner }) => `Its owner ${nameOf(owner)} is active.`,
    failed: ({ owner }) =>
      owner === undefined
        ? 'Its owner was deleted. Create a token that belongs to somebody else.'
        : `Its owner ${nameOf(owner)} is disabled. An administrator can enable the user again.`,
    skipped: () => NOT_REACHED,
  },
  addresses: {
    passed: ({ demand }) => `It may be presented from ${demand.ip}.`,
    failed: addressesFailed,
    skipped: () => 'It may be presented from anywhere.',
  },
  policy: {
    passed: ({ policy, policyIdleEndMs }) => {
      const end = policy?.endMs
      return [
        'It is within what the policy allows.',
        ...(end === undefined ? [] : [`${ruleOf(end)} ends it at ${instant(end.value)}.`]),
        ...(policyIdleEndMs === undefined
          ? []
          : [`Unless it is used before, ${instant(policyIdleEndMs)} is its end.`]),
      ].join(' ')
    },
    failed: policyFailed,
    skipped: () => 'The policy says nothing about its lifetime, idleness or addresses.',
  },
  audience: {
    passed: ({ token }) =>
      token?.oauth?.audience === undefined
        ? 'It is for Mintmark itself, and no other resource was named.'
        : `It is for ${token.oauth.audience}, the resource that was named.`,
    failed: audienceFailed,
    skipped: () => 'It is no token of an OAuth client, so it is for no resource in particular.',
  },
  proof: {
    passed: () => 'It was presented with the key that it is bound to.',
    failed: ({ demand }) =>
      demand.boundKey === undefined
        ? 'It is bound to a key (DPoP). Check the proof, and name the thumbprint of its key as boundKey.'
        : 'It is bound to another key than the one named. Only the client that it was given to can present it.',
    skipped: () => 'It is not bound to a key.',
  },
  role: {
    passed: ({ demand }) => `It holds the role "${demand.role}".`,
    failed: ({ demand: { role = '' }, owner, policy }) =>
      withholding(policy?.roles, role) ??
      (owner?.roles.has(role)
        ? `Its owner holds the role "${role}", but the token does not carry it. Create a token that does.`
        : `Its owner ${nameOf(owner)} does not hold the role "${role}". Give it to the owner, and to a token that carries it.`),
    skipped: () => 'No role was asked for.',
  },
  scope: {
    passed: ({ demand }) => `It holds the scope "${demand.scope}".`,
    failed: ({ demand: { scope = '' }, owner, policy }) =>
      withholding(policy?.scopes, scope) ??
      (owner !== undefined && holdsScope(owner, scope)
        ? `Its owner may have the scope "${scope}", but the token does not carry it. Create a token that does.`
        : `No role of its owner ${nameOf(owner)} grants the scope "${scope}". Give the owner such a role, and create a token that carries the scope.`),
    skipped: () => 'No scope was asked for.',
  },
  group: {
    passed: ({ demand }) => `It reaches ${modeIn(demand)}.`,
    failed: groupFailed,
    skipped: () => 'No group was asked for.',
  },
  rate: {
    passed: ({ budget }) => `It may be used now; ${budget?.rates.map(rateText).join(', and ')}.`,
    failed: ({ budget, nowMs }) => {
      const refusal = budget?.refusal(nowMs)
      if (refusal === undefined) return 'It was used too often. Try again.'
      const seconds = Math.max(1, Math.ceil(refusal.waitMs / 1000))
      return `It was used too often: ${rateText(refusal.rate)}. Try again in ${seconds} seconds, or ask an administrator for more.`
    },
    skipped: () => 'No rule limits how often it is used.',
  },
  claims: {
    passed: () => 'What it says is what is on record.',
    failed: () =>
      'It names a token that is on record as something else. Revoke that token, and get a new access token.',
    skipped: (facts) =>
      isSigned(facts)
        ? 'It stands for another token, by whose record all of this was checked.'
        : 'It is no signed access token.',
  },
  kind: {
    passed: ({ token }) => `Tokens of the kind ${token?.kind} may be presented to services.`,
    failed: ({ token }) =>
      `A token of the kind ${token?.kind} is for the token endpoint alone. Exchange it there, and present the access token that you get.`,
    skipped: () => NOT_REACHED,
  },
}

function timesFailed(facts: Facts): string {
  const endMs = signedEndMs(facts)
  return endMs !== undefined && endMs <= facts.nowMs
    ? `It was good until ${instant(endMs)}. Get a new access token with the refresh or service token.`
    : 'Its times are none that this server signs. Compare the clocks of the servers, and get a new access token.'
}

function statePassed({ token }: Facts): string {
  if (token?.supersededAtMs === undefined) return 'It was neither revoked nor replaced.'
  const at = instant(token.supersededAtMs)
  return token.supersededBy === undefined
    ? `It ends at ${at} with the token that it was derived from, which is being rotated. Derive a new one from its successor.`
    : `It is being rotated and goes on until ${at}. Take over the secret of the token ${token.supersededBy} before.`
}

function stateFailed({ token }: Facts): string {
  if (token?.revokedAtMs !== undefined) {
    const reason = token.revokeReason ? ` (${token.revokeReason})` : ''
    return `It was revoked at ${instant(token.revokedAtMs)}${reason}. That cannot be taken back; create a new one.`
  }
  const at = instant(token?.supersededAtMs)
  if (token?.kind === 'oauth_code') return `It was redeemed at ${at}. Sign in again for a new code.`
  if (
    token?.supersededBy === undefined &&
    token?.parentId !== undefined &&
    !isOauthKind(token.kind)
  ) {
    return `It ended at ${at} with the token that it was derived from, which was rotated. Derive a new one from its successor.`
  }
  return token?.supersededBy === undefined
    ? `It was used up at ${at}. Get a new one.`
    : `It was replaced at ${at} by the token ${token.supersededBy}. Use that one's secret.`
}

function quarantineFailed({ token, policy }: Facts): string {
  if (token?.quarantinedAtMs === undefined && policy?.unclear !== undefined) {
    return `${unclearText(policy.unclear)} Ask one of those.`
  }
  const reason = token?.quarantineReason ? ` (${token.quarantineReason})` : ''
  return `It was quarantined at ${instant(token?.quarantinedAtMs)}${reason}. Revoke it, or release it once nobody else can have its secret.`
}

function addressesFailed({ token, demand: { ip } }: Facts): string {
  const ranges = token?.limits.allowedIps?.join(', ') || 'no address'
  return ip === undefined
    ? `It may be presented from ${ranges} alone, and no address was named. Name the client's address as ip.`
    : `It may be presented from ${ranges} alone, and ${ip} is not among them. Present it from there, or create a token for this address.`
}

function policyFailed({ policy, policyIdleEndMs, nowMs, demand: { ip } }: Facts): string {
  const end = policy?.endMs
  if (end !== undefined && end.value <= nowMs) {
    return `${ruleOf(end)} lets such tokens live until ${instant(end.value)} at most. Rotate or replace it.`
  }
  if (policy?.idleSeconds !== undefined && policyIdleEndMs !== undefined) {
    if (policyIdleEndMs <= nowMs) {
      return `${ruleOf(policy.idleSeconds)} ends tokens that stand idle for ${policy.idleSeconds.value} seconds: this one at ${instant(policyIdleEndMs)}. Replace it.`
    }
  }
  const terms = policy?.allowedIps ?? []
  const against = terms.find(({ value }) => ip === undefined || !addressTest(value)(ip)) ?? terms[0]
  if (against === undefined) return 'The policy forbids it.'
  const from = `${ruleOf(against)} lets such tokens be presented from ${against.value.join(', ')} alone`
  return ip === undefined
    ? `${from}, and no address was named. Name the client's address as ip.`
    : `${from}, and ${ip} is not among them or not among the token's own. Present it from there.`
}

/** At the beginning of a sentence. */
function ruleOf(term: { rule: string | undefined }): string {
  const name = namedBy(term)
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`
}

function rateText({ value: { requests, windowSeconds }, rule }: Term<Rate>): string {
  return `${namedBy({ rule })} allows ${requests} requests in ${windowSeconds} seconds`
}

function audienceFailed({ token, demand: { audience } }: Facts): string {
  const own = token?.oauth?.audience
  if (own === undefined) {
    return `It is for Mintmark itself, not for ${audience}. Let the client ask for a token for that resource.`
  }
  return audience === undefined
    ? `It is for ${own} alone, and no resource was named. If you are that resource, name it as audience.`
    : `It is for ${own} alone, not for ${audience}. Let the client ask for a token for that resource.`
}

function groupFailed({ demand, owner }: Facts): string {
  const { group = '', mode = 'READ' } = demand
  return owner !== undefined && hasGroup(owner, group, mode)
    ? `Its owner reaches ${modeIn(demand)}, but the token does not. Create a token that does.`
    : `Its owner ${nameOf(owner)} does not reach ${modeIn(demand)}. Change the membership, and see that the token carries the group.`
}

/** What is said of a right that a rule keeps from a token. */
function withholding(
  terms: readonly Term<readonly string[]>[] | undefined,
  name: string,
): string | undefined {
  const term = terms?.find(({ value }) => !value.includes(name))
  return term && `${ruleOf(term)} does not let such a token have "${name}". Change the rule.`
}

function modeIn({ group, mode = 'READ' }: Demand): string {
  return `${mode} in the group "${group}"`
}

function nameOf(owner: Owner | undefined): string {
  return owner?.user.username ?? 'that was deleted'
}

function signedFault({ presented }: Facts) {
  return 'signed' in presented ? presented.signed.fault : undefined
}

function signedEndMs({ presented }: Facts): number | undefined {
  return 'signed' in presented ? presented.signed.source?.expiresAtMs : undefined
}

function instant(ms: number | undefined): string {
  return ms === undefined ? 'an unknown time' : new Date(ms).toISOString()
}
