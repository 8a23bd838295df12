import type { GroupId, TokenId, UserId } from '../id.ts'
import type { Repositories } from '../store.ts'
import { narrowed } from '../tokens/lineage.ts'
import { type Limits, type Token, UNLIMITED } from '../tokens/token.ts'
import type { Policy } from './policy.ts'
import { isMetered, isPresented, type Rate } from './rule.ts'
import { isLax, namedBy, type Term, type Terms, termsFor } from './terms.ts'

/** A limit on how often, and whose uses count together. */
export interface RateTerm extends Term<Rate> {
  key: string
}

/** What the policy makes of one token, beyond the token's own limits. */
export interface Restraint {
  /** Epoch milliseconds. */
  endMs: Term<number> | undefined
  idleSeconds: Term<number> | undefined
  allowedIps: readonly Term<readonly string[]>[]
  roles: readonly Term<readonly string[]>[]
  scopes: readonly Term<readonly string[]>[]
  rates: readonly RateTerm[]
  /** Of tokens that people create. */
  description: Term<true> | undefined
  /** How long before its end people want to hear of it, the longest first. */
  noticeSeconds: readonly number[]
  /** A rule that only a newer release understands: here such tokens are refused. */
  unclear: Term<true> | undefined
}

/** A token, or one that it was derived from, with what the policy says about such. */
interface Relative {
  token: Token
  terms: Terms
}

/** What decides about a token that may not be saved yet. */
export type Restrained = Pick<
  Token,
  'id' | 'kind' | 'ownerId' | 'familyId' | 'parentId' | 'createdAtMs'
>

type Groups = ReadonlySet<GroupId>
type Reader = Pick<Repositories, 'tokens' | 'groups'>

/**
 * What the policy makes of each token; those that it says nothing about are missing. A token that was
 * derived from another must keep to what that one must, too, so that no exchange is a way around a
 * rule. Logins do not count there: what a client was given is not bound to where its user sits.
 */
export async function restraintsOf<T extends Restrained>(
  policy: Policy,
  from: Reader,
  tokens: readonly T[],
): Promise<Map<TokenId, Restraint>> {
  const restraints = new Map<TokenId, Restraint>()
  if (isLax(policy) || tokens.length === 0) return restraints
  const ancestors = await ancestorsOf(from, tokens)
  const groups = await groupsOf(policy, from, [...tokens, ...ancestors.values()])
  const relative = (token: Restrained) => ({
    token: token as Token,
    terms: termsFor(policy, { kind: token.kind, groups: groups.get(token.ownerId) ?? NO_GROUPS }),
  })
  for (const token of tokens) {
    const lineage = lineageOf(token, ancestors).map(relative)
    const restraint = restraintFrom(lineage[0] ?? relative(token), lineage.slice(1))
    if (restraint !== undefined) restraints.set(token.id, restraint)
  }
  return restraints
}

/** The same for one token. */
export async function restraintOf(
  policy: Policy,
  from: Reader,
  token: Restrained,
): Promise<Restraint | undefined> {
  if (isLax(policy)) return undefined
  return (await restraintsOf(policy, from, [token])).get(token.id)
}

/** When tokens end by the policy, unless they end before; those without such an end are missing. */
export async function policyEnds(
  policy: Policy,
  from: Reader,
  tokens: readonly Token[],
): Promise<Map<TokenId, number>> {
  const restraints = await restraintsOf(policy, from, tokens)
  return new Map(
    [...restraints].flatMap(([id, { endMs }]) => (endMs === undefined ? [] : [[id, endMs.value]])),
  )
}

const NO_GROUPS: Groups = new Set()

async function groupsOf(
  policy: Policy,
  { groups }: Pick<Reader, 'groups'>,
  tokens: readonly Restrained[],
): Promise<Map<UserId, Groups>> {
  if (policy.tokenRules.every((rule) => rule.groups === null)) return new Map()
  const held = await groups.groupsOfUsers([...new Set(tokens.map(({ ownerId }) => ownerId))])
  const byUser = Map.groupBy(held, ({ userId }) => userId)
  return new Map([...byUser].map(([id, of]) => [id, new Set(of.map(({ group }) => group.id))]))
}

/** All that any of these was derived from. */
async function ancestorsOf(
  { tokens: store }: Pick<Reader, 'tokens'>,
  tokens: readonly Restrained[],
): Promise<Map<TokenId, Token>> {
  const found = new Map<TokenId, Token>()
  let young: readonly Restrained[] = tokens
  for (;;) {
    const wanted = young.flatMap(({ parentId }) => (parentId === undefined ? [] : [parentId]))
    const ids = [...new Set(wanted)].filter((id) => !found.has(id))
    if (ids.length === 0) return found
    const parents = await store.byIds(ids)
    for (const parent of parents) found.set(parent.id, parent)
    young = parents
  }
}

/** The token itself and what it was derived from, as far as the rules go along. */
function lineageOf(token: Restrained, ancestors: ReadonlyMap<TokenId, Token>): Restrained[] {
  const lineage: Restrained[] = [token]
  let parentId = token.parentId
  while (parentId !== undefined) {
    const parent = ancestors.get(parentId)
    if (parent === undefined || isLogin(parent)) break
    lineage.push(parent)
    parentId = parent.parentId
  }
  return lineage
}

function isLogin({ kind, parentId }: Restrained): boolean {
  return kind === 'session' && parentId === undefined
}

function restraintFrom(own: Relative, ancestors: readonly Relative[]): Restraint | undefined {
  const lineage = [own, ...ancestors]
  const { kind } = own.token
  const presented = isPresented(kind) ? lineage : []
  const restraint: Restraint = {
    endMs: lineage.reduce<Term<number> | undefined>((first, relative) => {
      const end = endOf(relative)
      return end !== undefined && end.value < (first?.value ?? Number.POSITIVE_INFINITY)
        ? end
        : first
    }, undefined),
    idleSeconds: own.terms.idleSeconds,
    allowedIps: presented.flatMap(({ terms }) => terms.allowedIps),
    roles: lineage.flatMap(({ terms }) => terms.roles),
    scopes: lineage.flatMap(({ terms }) => terms.scopes),
    rates: isMetered(kind) ? lineage.flatMap(ratesOf) : [],
    description: own.terms.description,
    noticeSeconds: own.terms.noticeSeconds,
    unclear: lineage.find(({ terms }) => terms.unclear !== undefined)?.terms.unclear,
  }
  return saysNothing(restraint) ? undefined : restraint
}

function endOf({ token, terms: { maxTtlSeconds } }: Relative): Term<number> | undefined {
  if (maxTtlSeconds === undefined) return undefined
  const { value, rule } = maxTtlSeconds
  return { value: token.createdAtMs + value * 1000, rule }
}

/**
 * Successors draw on what their predecessors left, and all that a client was given by one grant counts
 * together, so that neither a rotation nor a refresh begins anew.
 */
function ratesOf({ token, terms }: Relative): RateTerm[] {
  return terms.rates.map((term) => ({ ...term, key: `${token.familyId}:${term.rule}` }))
}

function saysNothing(restraint: Restraint): boolean {
  const { endMs, idleSeconds, description, unclear, ...lists } = restraint
  const isEmpty = Object.values(lists).every((list) => list.length === 0)
  return isEmpty && (endMs ?? idleSeconds ?? description ?? unclear) === undefined
}

/** The token as the policy lets it be: what may be derived from it is bound by this, not by its row. */
export function restrained(token: Token, restraint: Restraint | undefined): Token {
  if (restraint === undefined) return token
  return {
    ...token,
    limits: restrainedLimits(token.limits, restraint),
    expiresAtMs: least(token.expiresAtMs, restraint.endMs?.value),
    idleSeconds: least(token.idleSeconds, restraint.idleSeconds?.value),
    ...heldBack(token, restraint),
  }
}

/** What is not understood is in quarantine as far as this release is concerned, as a token by itself is. */
function heldBack(
  { quarantinedAtMs, quarantineReason, createdAtMs }: Token,
  { unclear }: Restraint,
): Partial<Token> {
  if (unclear === undefined) return {}
  return {
    quarantinedAtMs: quarantinedAtMs ?? createdAtMs,
    quarantineReason: quarantineReason ?? unclearText(unclear),
  }
}

function restrainedLimits(
  limits: Limits,
  { roles, scopes, allowedIps }: Pick<Restraint, 'roles' | 'scopes' | 'allowedIps'>,
): Limits {
  return [
    ...roles.map(({ value }) => ({ ...UNLIMITED, roles: value })),
    ...scopes.map(({ value }) => ({ ...UNLIMITED, scopes: value })),
    ...allowedIps.map(({ value }) => ({ ...UNLIMITED, allowedIps: value })),
  ].reduce<Limits>(narrowed, limits)
}

/** Why a rule that is not understood leaves nothing of a token. */
export function unclearText(unclear: Term<true>): string {
  return `Only servers of a newer release of Mintmark can decide about it, because of ${namedBy(unclear)}.`
}

/** The earlier of two ends, or the shorter of two times; undefined: there is none. */
export function least(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.min(a, b)
}

/** When a token ends unless somebody ends it before, or it stands idle; undefined: never. */
export function effectiveEndMs(
  { expiresAtMs }: Pick<Token, 'expiresAtMs'>,
  restraint: Restraint | undefined,
): number | undefined {
  return least(expiresAtMs, restraint?.endMs?.value)
}
