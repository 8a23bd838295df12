import { can, mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import { addressTest } from '../ip.ts'
import type { Position } from '../page.ts'
import { NEWEST_FIRST, type TokenQuery } from '../tokens/filter.ts'
import { stillHolds } from '../tokens/still-holds.ts'
import type { Token } from '../tokens/token.ts'
import type { Verifier } from '../tokens/verify.ts'
import { mergedPolicy, type PolicyEdit } from './manage.ts'
import { DEFAULT_POLICY, type Policy } from './policy.ts'
import { effectiveEndMs, type Restraint, restraintsOf } from './restraint.ts'
import { isCreated } from './rule.ts'
import type { Term } from './terms.ts'

export const POLICY_EFFECTS = [
  'ended',
  'ends_earlier',
  'idle',
  'loses_roles',
  'loses_scopes',
  'refused_address',
  'lacks_description',
  'rate_limited',
  'revived',
] as const
/**
 * What a policy does to a token: it has ended by its age; it ends before its own end; it stood idle for
 * too long; its list of roles or scopes is cut; it was last used from an address that is not allowed; it
 * has no description and needs one; its uses are limited; or it works again, which the policy in force
 * forbids.
 */
export type PolicyEffect = (typeof POLICY_EFFECTS)[number]

/** A token that a policy does something to. */
export interface AffectedToken {
  token: Token
  /** Undefined: the policy's own setting. */
  rule: string | undefined
  /** Of what ends: when. */
  atMs: number | undefined
  /** The roles, scopes or address concerned. */
  values: readonly string[]
  /** The policy in force does not do this. */
  isNew: boolean
}

export interface EffectFigures {
  /** How many tokens in all. */
  count: number
  /** To how many of them the policy in force does not do this. */
  newCount: number
  /** The first of them, newest tokens first. */
  tokens: AffectedToken[]
}

export interface PolicyTest {
  /** Active tokens that were looked at. */
  total: number
  effects: ReadonlyMap<PolicyEffect, EffectFigures>
}

/** How far a test is, or what it found. */
export type PolicyTestStep = { done: number; total: number } | PolicyTest

type TestDeps = Deps & { verifier: Verifier }

const BATCH = 500
const MAX_SHOWN = 100
const ACTIVE: TokenQuery = { field: 'state', oneOf: ['active'] }

/**
 * What the policy would do, after an edit, to the tokens there are; without an edit, what the policy in
 * force does. Changes nothing. Everything that can be refused is refused before the first step; then
 * the inventory is read in batches. Throws `forbidden`, `invalid_input`; a step, `unauthenticated` when the
 * caller lost the right to it on the way.
 */
export async function testPolicy(
  deps: TestDeps,
  caller: Caller,
  edit: PolicyEdit,
): Promise<AsyncGenerator<PolicyTestStep>> {
  mustBeAllowed(caller.principal, 'policy.test', { what: undefined, policy: deps.policy() })
  const inForce: Policy = { ...DEFAULT_POLICY, ...(await deps.store.policy.load()) }
  const proposed = await mergedPolicy(deps.store, inForce, edit)
  return whileAllowed(deps, caller, stepsOf(deps, { inForce, proposed }))
}

/** A large inventory takes minutes, and shows tokens of everybody at the end. */
async function* whileAllowed(
  deps: TestDeps,
  caller: Caller,
  steps: AsyncGenerator<PolicyTestStep>,
): AsyncGenerator<PolicyTestStep> {
  for await (const step of steps) {
    const who = await stillHolds(deps, caller)
    const policy = deps.policy()
    if (who === undefined || !can(who, 'policy.test', { what: undefined, policy })) {
      throw new CoreError('unauthenticated', 'The credential is no longer valid.')
    }
    yield step
  }
}

async function* stepsOf(
  { store, clock, usage }: Deps,
  { inForce, proposed }: { inForce: Policy; proposed: Policy },
): AsyncGenerator<PolicyTestStep> {
  const nowMs = clock.now()
  const total = await store.inventory.countTokens(ACTIVE, nowMs)
  const effects = new Map<PolicyEffect, EffectFigures>()
  let done = 0
  let from: Position | undefined
  do {
    const wish = { order: NEWEST_FIRST, from, size: BATCH, nowMs }
    const found = await store.inventory.find(ACTIVE, wish)
    const tokens = found.map(({ token }) => usage.overlay(token))
    const [now, then] = await Promise.all(
      [inForce, proposed].map((policy) => restraintsOf(policy, store, tokens)),
    )
    for (const token of tokens) {
      const before = effectsOn(token, now?.get(token.id), nowMs)
      for (const effect of changesOf(token, before, effectsOn(token, then?.get(token.id), nowMs))) {
        count(effects, effect)
      }
    }
    done += tokens.length
    yield { done, total: Math.max(total, done) }
    const last = found.at(-1)
    from =
      last !== undefined && found.length === BATCH
        ? { at: last.at, id: last.token.id, direction: 'after' }
        : undefined
  } while (from !== undefined)
  yield { total: done, effects }
}

type Effects = ReadonlyMap<PolicyEffect, Omit<AffectedToken, 'token' | 'isNew'>>

function effectsOn(token: Token, restraint: Restraint | undefined, nowMs: number): Effects {
  const effects = new Map<PolicyEffect, Omit<AffectedToken, 'token' | 'isNew'>>()
  if (restraint === undefined) return effects
  const say = (
    effect: PolicyEffect,
    { rule }: Pick<Term<unknown>, 'rule'>,
    facts: { atMs?: number; values?: readonly string[] } = {},
  ) => {
    // The first rule that does it is named.
    if (effects.has(effect)) return
    effects.set(effect, { rule, atMs: facts.atMs, values: facts.values ?? [] })
  }
  const { endMs, idleSeconds, description } = restraint
  if (endMs !== undefined && endMs.value === effectiveEndMs(token, restraint)) {
    const isEarlier = endMs.value < (token.expiresAtMs ?? Number.POSITIVE_INFINITY)
    if (endMs.value <= nowMs) say('ended', endMs, { atMs: endMs.value })
    else if (isEarlier) say('ends_earlier', endMs, { atMs: endMs.value })
  }
  if (idleSeconds !== undefined) {
    const atMs = (token.lastUsedAtMs ?? token.createdAtMs) + idleSeconds.value * 1000
    if (atMs <= nowMs) say('idle', idleSeconds, { atMs })
  }
  for (const term of restraint.roles) {
    const values = beyond(token.limits.roles, term.value)
    if (values.length > 0) say('loses_roles', term, { values })
  }
  for (const term of restraint.scopes) {
    const values = beyond(token.limits.scopes, term.value)
    if (values.length > 0) say('loses_scopes', term, { values })
  }
  const { lastUsedIp } = token
  for (const term of restraint.allowedIps) {
    if (lastUsedIp === undefined || addressTest(term.value)(lastUsedIp)) continue
    say('refused_address', term, { values: [lastUsedIp] })
  }
  const isBare = isCreated(token.kind) && token.description.trim() === ''
  if (description !== undefined && isBare) say('lacks_description', description)
  const [rate] = restraint.rates
  if (rate !== undefined) say('rate_limited', rate)
  return effects
}

function beyond(held: readonly string[] | null, most: readonly string[]): string[] {
  return (held ?? []).filter((each) => !most.includes(each))
}

function changesOf(token: Token, before: Effects, after: Effects): [PolicyEffect, AffectedToken][] {
  const found = [...after].map(([effect, facts]): [PolicyEffect, AffectedToken] => [
    effect,
    { ...facts, token, isNew: !before.has(effect) },
  ])
  const wasDead = before.get('ended') ?? before.get('idle')
  if (wasDead === undefined || after.has('ended') || after.has('idle')) return found
  return [...found, ['revived', { ...wasDead, token, isNew: true }]]
}

function count(
  effects: Map<PolicyEffect, EffectFigures>,
  [effect, affected]: [PolicyEffect, AffectedToken],
): void {
  const figures = effects.get(effect) ?? { count: 0, newCount: 0, tokens: [] }
  figures.count++
  if (affected.isNew) figures.newCount++
  if (figures.tokens.length < MAX_SHOWN) figures.tokens.push(affected)
  effects.set(effect, figures)
}
