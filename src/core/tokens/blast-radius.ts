import type { Deps } from '../deps.ts'
import type { UserId } from '../id.ts'
import type { TokenQuery } from './filter.ts'
import type { ReachedToken } from './inventory-store.ts'
import { rootsOf } from './revoke.ts'
import { stateOf, type Token, type TokenKind, type TokenState, type Via } from './token.ts'

/**
 * What would become of the tokens: dead for good, refused while their owner is disabled, or alive with
 * fewer rights or a shorter life.
 */
export type Effect = 'revoked' | 'refused' | 'narrowed'

/** Which tokens something is about to hit, and how. */
export interface Aim {
  /** Those that it is aimed at; what was revoked before is never counted. */
  tokens: TokenQuery
  effect: Effect
}

export interface Tally<T> {
  value: T
  count: number
}

/** An address that uses the tokens: as far as each was last used from it. */
export interface CallerTally extends Tally<string> {
  lastUsedAtMs: number
}

/** What would be hit. */
export interface BlastRadius {
  effect: Effect
  /** Tokens in all. */
  total: number
  /** Of these, families and descendants that die with the ones that are meant. */
  children: number
  kinds: Tally<TokenKind>[]
  states: Tally<TokenState>[]
  /** The first of them, oldest first, children last. */
  tokens: Token[]
  ownerCount: number
  /** Who has most, first. */
  owners: Tally<UserId>[]
  /** Through which APIs they were made. */
  vias: Tally<Via>[]
  use: {
    /** Undefined: none of them was ever used. */
    lastAtMs: number | undefined
    lastHour: number
    lastDay: number
    last30Days: number
    never: number
  }
  callerCount: number
  /** From where they were last used, the latest first. */
  callers: CallerTally[]
}

const SHOWN = 100
/** Tokens looked at in one go. */
const STEP = 500
/** Addresses told apart; the inventory of a large public service has more than anybody reads. */
const MAX_CALLERS = 100_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

/**
 * Whom an action would hit that is aimed at these tokens: the one answer of every dry run. Reads in
 * steps and changes nothing. Whether the caller may know, and may act, is settled before.
 */
export async function blastRadius(deps: Deps, { tokens, effect }: Aim): Promise<BlastRadius> {
  const nowMs = deps.clock.now()
  const living = alive(tokens)
  const tallies = tallyOf(nowMs)
  const shown: ReachedToken[] = []
  const count = (found: readonly ReachedToken[]) => {
    for (const token of found) tallies.add(deps.usage.latest(token))
    shown.push(...found.slice(0, SHOWN - shown.length))
  }
  const children = new Map<string, ReachedToken>()
  for (let after: { at: number; id: string } | undefined; ; ) {
    const found = await deps.store.inventory.reach(living, { after, size: STEP, nowMs })
    const last = found.at(-1)
    if (last === undefined) break
    count(found)
    if (effect === 'revoked') {
      const dying = await deps.store.inventory.reachFrom(rootsOf(found), living, nowMs)
      for (const token of dying) children.set(token.id, token)
    }
    after = { at: last.createdAtMs, id: last.id }
  }
  count([...children.values()])
  return {
    effect,
    children: children.size,
    ...tallies.result(),
    tokens: await whole(deps, shown),
  }
}

/** Without what was revoked before. */
export function alive(tokens: TokenQuery): TokenQuery {
  const parts = 'all' in tokens ? tokens.all : [tokens]
  return { all: [...parts, { not: { field: 'state', oneOf: ['revoked'] } }] }
}

async function whole(deps: Deps, shown: readonly ReachedToken[]): Promise<Token[]> {
  if (shown.length === 0) return []
  const found = await deps.store.tokens.byIds(shown.map(({ id }) => id))
  const byId = new Map(found.map((token) => [token.id, deps.usage.overlay(token)]))
  return shown.flatMap(({ id }) => byId.get(id) ?? [])
}

function tallyOf(nowMs: number) {
  const kinds = new Map<TokenKind, number>()
  const states = new Map<TokenState, number>()
  const owners = new Map<UserId, number>()
  const vias = new Map<Via, number>()
  const callers = new Map<string, { count: number; lastUsedAtMs: number }>()
  const use = { lastHour: 0, lastDay: 0, last30Days: 0, never: 0 }
  let total = 0
  let lastAtMs: number | undefined
  const more = <T>(map: Map<T, number>, value: T) => map.set(value, (map.get(value) ?? 0) + 1)

  function addUse(usedAtMs: number, ip: string | undefined): void {
    lastAtMs = Math.max(usedAtMs, lastAtMs ?? 0)
    const agoMs = nowMs - usedAtMs
    if (agoMs < HOUR_MS) use.lastHour++
    if (agoMs < DAY_MS) use.lastDay++
    if (agoMs < 30 * DAY_MS) use.last30Days++
    if (ip === undefined) return
    const caller = callers.get(ip)
    if (caller === undefined) {
      if (callers.size < MAX_CALLERS) callers.set(ip, { count: 1, lastUsedAtMs: usedAtMs })
      return
    }
    caller.count++
    caller.lastUsedAtMs = Math.max(caller.lastUsedAtMs, usedAtMs)
  }

  return {
    add(token: ReachedToken): void {
      total++
      more(kinds, token.kind)
      more(states, stateOf(token, nowMs))
      more(owners, token.ownerId)
      more(vias, token.via)
      if (token.lastUsedAtMs === undefined) use.never++
      else addUse(token.lastUsedAtMs, token.lastUsedIp)
    },
    result() {
      return {
        total,
        kinds: mostFirst(kinds),
        states: mostFirst(states),
        ownerCount: owners.size,
        owners: mostFirst(owners).slice(0, SHOWN),
        vias: mostFirst(vias),
        use: { lastAtMs, ...use },
        callerCount: callers.size,
        callers: [...callers]
          .map(([value, each]) => ({ value, ...each }))
          .sort((a, b) => b.lastUsedAtMs - a.lastUsedAtMs)
          .slice(0, SHOWN),
      }
    },
  }
}

function mostFirst<T extends string>(counts: ReadonlyMap<T, number>): Tally<T>[] {
  return [...counts]
    .map(([value, count]) => ({ value, count }))
    .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1))
}
