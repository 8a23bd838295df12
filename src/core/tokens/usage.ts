import type { Clock } from '../clock.ts'
import type { TokenId } from '../id.ts'
import type { Principal } from '../rights.ts'
import type { Usage } from './store.ts'
import type { Token, UseVia } from './token.ts'
import { type CallerUse, type MinuteUse, OTHERS } from './use.ts'
import type { Refusal } from './verdict.ts'

/**
 * Collects uses in memory and writes them in batches, so that verifying never writes. A crash loses
 * at most one flush interval of what was counted, never a verdict.
 */
export interface UsageCollector {
  /** Counts a use. Makes no object on the way, but for the first of each token after a flush. */
  record(
    counted: Counted,
    nowMs: number,
    ip: string | undefined,
    via: UseVia,
    agent: AgentSource,
  ): void
  /** Counts a refusal of a known token. */
  refuse(counted: Counted, nowMs: number, reason: Refusal): void
  /** When the token was last used, if that is newer than what the store knows. */
  lastUsedAtMs(tokenId: TokenId): number | undefined
  /** The token as a reader should see it: with the uses that are not flushed yet. */
  overlay(token: Token): Token
  /** The same for what knows only its last use. */
  latest<T extends Pick<Token, 'id' | 'lastUsedAtMs' | 'lastUsedIp'>>(token: T): T
  /** Who used a token that is being rotated, as far as that is not flushed yet. */
  callersOf(tokenId: TokenId): CallerUse[]
  /**
   * Writes what was collected. Spread over `overMs` milliseconds, if that is long enough: questions go on meanwhile,
   * and who is held up for a moment now and then waits less than who is held up for all of it. Without, one that is
   * under way makes haste, and all is written that was collected until then.
   */
  flush(overMs?: number): Promise<void>
}

/** What holds on to the counter of its token, so that nobody looks it up for each use. */
export interface Counted {
  readonly principal: Principal
  use: Use | undefined
}

/** The user agent itself, or the headers in which it is found when somebody wants to know. */
export type AgentSource = string | readonly string[] | undefined

/** What tells one caller from another. */
type Who = Pick<CallerUse, 'ip' | 'agent' | 'via'>

/** What was seen of a token since the last flush. */
export interface Use extends Usage {
  /** By minute; the current one is added when it is over, or when all is written. */
  minutes: MinuteUse[]
  /** Of the current minute. */
  refusals: Map<Refusal, number> | undefined
  callers: Map<string, CallerUse> | undefined
  /** Counts no more once it is being written. */
  isOpen: boolean
  minuteEndMs: number
  /** `count` as it was when the current minute began. */
  countBefore: number
  /** Until when callers are told apart. */
  watchedUntilMs: number
  lastCaller: CallerUse | undefined
  /** Lets go of it once it is written: what is asked about once a day need not keep it until then. */
  holder: Counted | undefined
}

/** Tokens per transaction: one with thousands would hold up everybody who only asks. */
const BATCH = 25
/** What is spread over a while is written in so much of it, so that it is done before the next. */
const SPREAD = 0.8
const MAX_REST_MS = 50
const MINUTE_MS = 60_000
/** While nothing can be written minutes are kept apart for so long, and then run together. */
const MAX_MINUTES = 120
/** Callers of one token that are told apart; more are counted as one. */
export const MAX_CALLERS = 100
/** The same for all tokens between two flushes. */
const MAX_CALLERS_IN_ALL = 20_000
const MAX_AGENT_LENGTH = 200

/** `write` stores some uses, all of them or none. */
export function usageCollector(
  write: (uses: Use[]) => Promise<void>,
  clock: Clock,
): UsageCollector {
  let pending = new Map<TokenId, Use>()
  let flushing = new Map<TokenId, Use>()
  let running: Promise<void> | undefined
  let callersInAll = 0
  let isHurried = false

  function useOf(counted: Counted, nowMs: number): Use {
    let use = counted.use
    if (use?.isOpen !== true) use = attach(counted)
    if (nowMs >= use.minuteEndMs) turnMinute(use, nowMs)
    return use
  }

  function attach(counted: Counted): Use {
    const { token } = counted.principal
    const use = pending.get(token.id) ?? newUse(token.id)
    pending.set(token.id, use)
    // A rotation forgets what holds on to the counter, so this is as new as the rotation.
    use.watchedUntilMs = watchedUntil(token)
    counted.use = use
    use.holder = counted
    return use
  }

  function noteCaller(use: Use, nowMs: number, who: Who): void {
    const last = use.lastCaller
    const isSame = last?.ip === who.ip && last.agent === who.agent && last.via === who.via
    const caller = last !== undefined && isSame ? last : callerOf(use, { ...who, nowMs })
    caller.uses++
    caller.lastUsedAtMs = nowMs
  }

  function callerOf(use: Use, { ip, agent, via, nowMs }: Who & { nowMs: number }): CallerUse {
    use.callers ??= new Map()
    const key = keyOf({ ip, agent, via })
    const known = use.callers.get(key)
    if (known !== undefined) {
      use.lastCaller = known
      return known
    }
    const isRoom = use.callers.size < MAX_CALLERS && callersInAll < MAX_CALLERS_IN_ALL
    if (!isRoom && key !== OTHERS_KEY) return callerOf(use, { ...OTHERS, nowMs })
    callersInAll++
    const caller: CallerUse = { ip, agent, via, uses: 0, firstUsedAtMs: nowMs, lastUsedAtMs: nowMs }
    use.callers.set(key, caller)
    use.lastCaller = caller
    return caller
  }

  async function writeAll(overMs: number): Promise<void> {
    if (pending.size === 0) return
    flushing = pending
    pending = new Map()
    callersInAll = 0
    for (const use of flushing.values()) {
      use.isOpen = false
      turnMinute(use, use.minuteEndMs)
    }
    try {
      // Ids sort by time, and tables lie in that order: neighbours share pages that are written once for all.
      const uses = [...flushing.values()].toSorted((a, b) => (a.tokenId < b.tokenId ? -1 : 1))
      const paceMs = (overMs * SPREAD * BATCH) / uses.length
      for (let i = 0; i < uses.length; i += BATCH) {
        const sinceMs = clock.now()
        const batch = uses.slice(i, i + BATCH)
        await write(batch)
        for (const use of batch) letGo(use)
        if (!isHurried && i + BATCH < uses.length) await rest(clock.now() - sinceMs, paceMs)
      }
    } catch (error) {
      for (const use of flushing.values()) giveBack(use)
      throw error
    } finally {
      flushing = new Map()
    }
  }

  function letGo(use: Use): void {
    flushing.delete(use.tokenId)
    if (use.holder?.use === use) use.holder.use = undefined
  }

  /** What could not be written is written the next time, with what has come since. */
  function giveBack(use: Use): void {
    const newer = pending.get(use.tokenId) ?? newUse(use.tokenId)
    pending.set(use.tokenId, newer)
    newer.count += use.count
    newer.countBefore += use.count
    newer.lastUsedAtMs = Math.max(newer.lastUsedAtMs, use.lastUsedAtMs)
    newer.lastUsedIp ??= use.lastUsedIp
    newer.lastUsedVia ??= use.lastUsedVia
    newer.lastUsedAgent ??= use.lastUsedAgent
    for (const minute of use.minutes) addMinute(newer, minute)
    for (const caller of use.callers?.values() ?? []) {
      const { uses, firstUsedAtMs, lastUsedAtMs } = caller
      const same = callerOf(newer, { ...caller, nowMs: firstUsedAtMs })
      same.uses += uses
      same.firstUsedAtMs = Math.min(same.firstUsedAtMs, firstUsedAtMs)
      same.lastUsedAtMs = Math.max(same.lastUsedAtMs, lastUsedAtMs)
    }
  }

  return {
    record(counted, nowMs, ip, via, agent) {
      const use = useOf(counted, nowMs)
      use.count++
      use.lastUsedAtMs = nowMs
      const isWatched = nowMs < use.watchedUntilMs
      if (isWatched || via !== use.lastUsedVia || (ip !== undefined && ip !== use.lastUsedIp)) {
        const seen = agentOf(agent)
        use.lastUsedVia = via
        use.lastUsedIp = ip ?? use.lastUsedIp
        use.lastUsedAgent = seen ?? use.lastUsedAgent
        if (isWatched) noteCaller(use, nowMs, { ip: ip ?? '', via, agent: seen ?? '' })
      }
    },
    refuse(counted, nowMs, reason) {
      const use = useOf(counted, nowMs)
      use.refusals ??= new Map()
      use.refusals.set(reason, (use.refusals.get(reason) ?? 0) + 1)
    },
    lastUsedAtMs: (tokenId) =>
      pending.get(tokenId)?.lastUsedAtMs || flushing.get(tokenId)?.lastUsedAtMs || undefined,
    overlay(token) {
      let seen = token
      for (const use of [flushing.get(token.id), pending.get(token.id)]) {
        if (use === undefined || use.count === 0) continue
        seen = {
          ...seen,
          lastUsedAtMs: Math.max(use.lastUsedAtMs, seen.lastUsedAtMs ?? 0),
          lastUsedIp: use.lastUsedIp ?? seen.lastUsedIp,
          lastUsedVia: use.lastUsedVia ?? seen.lastUsedVia,
          lastUsedAgent: use.lastUsedAgent ?? seen.lastUsedAgent,
          useCount: seen.useCount + use.count,
        }
      }
      return seen
    },
    latest(token) {
      let seen = token
      for (const use of [flushing.get(token.id), pending.get(token.id)]) {
        if (use === undefined || use.count === 0) continue
        const lastUsedAtMs = Math.max(use.lastUsedAtMs, seen.lastUsedAtMs ?? 0)
        seen = { ...seen, lastUsedAtMs, lastUsedIp: use.lastUsedIp ?? seen.lastUsedIp }
      }
      return seen
    },
    callersOf: (tokenId) =>
      [flushing.get(tokenId), pending.get(tokenId)].flatMap((use) => [
        ...(use?.callers?.values() ?? []),
      ]),
    async flush(overMs = 0) {
      if (overMs === 0) {
        isHurried = true
        // What it could not write is written now, with what has come since.
        await running?.catch(() => undefined)
      }
      running ??= writeAll(overMs).finally(() => {
        running = undefined
        isHurried = false
      })
      return running
    },
  }
}

/** As long as the work at least, so that others get half of the time however much there is to write. */
function rest(tookMs: number, paceMs: number): Promise<void> {
  const restMs = Math.min(Math.max(paceMs - tookMs, tookMs), MAX_REST_MS)
  return new Promise((resolve) => setTimeout(resolve, restMs))
}

function newUse(tokenId: TokenId): Use {
  return {
    tokenId,
    lastUsedAtMs: 0,
    lastUsedIp: undefined,
    lastUsedVia: undefined,
    lastUsedAgent: undefined,
    count: 0,
    minutes: [],
    refusals: undefined,
    callers: undefined,
    isOpen: true,
    minuteEndMs: 0,
    countBefore: 0,
    watchedUntilMs: 0,
    lastCaller: undefined,
    holder: undefined,
  }
}

/** Keeps what was counted in the minute that is over, and begins another. */
function turnMinute(use: Use, nowMs: number): void {
  const uses = use.count - use.countBefore
  if (uses > 0 || use.refusals !== undefined) {
    addMinute(use, { startMs: use.minuteEndMs - MINUTE_MS, uses, refusals: use.refusals })
  }
  use.countBefore = use.count
  use.refusals = undefined
  use.minuteEndMs = nowMs - (nowMs % MINUTE_MS) + MINUTE_MS
}

function addMinute(use: Use, minute: MinuteUse): void {
  const last = use.minutes.at(-1)
  if (last === undefined) {
    // Most have one; an empty array that is added to makes room for seventeen.
    use.minutes = [minute]
    return
  }
  if (use.minutes.length < MAX_MINUTES) {
    use.minutes.push(minute)
    return
  }
  last.uses += minute.uses
  if (minute.refusals === undefined) return
  last.refusals ??= new Map()
  for (const [reason, count] of minute.refusals) {
    last.refusals.set(reason, (last.refusals.get(reason) ?? 0) + count)
  }
}

/** While old and new secret of a rotated token overlap, both are watched. */
function watchedUntil({ supersededAtMs, supersededBy, overlapEndsAtMs }: Token): number {
  const ownEndMs = supersededBy === undefined ? 0 : (supersededAtMs ?? 0)
  return Math.max(ownEndMs, overlapEndsAtMs ?? 0)
}

export function keyOf({ ip, agent, via }: Who): string {
  return `${ip}\n${via}\n${agent}`
}

/** One for each caller: what was counted apart is put together. */
export function mergedCallers(callers: Iterable<CallerUse>): CallerUse[] {
  const merged = new Map<string, CallerUse>()
  for (const caller of callers) {
    const known = merged.get(keyOf(caller))
    merged.set(keyOf(caller), known === undefined ? caller : together(known, caller))
  }
  return [...merged.values()]
}

function together(known: CallerUse, more: CallerUse): CallerUse {
  return {
    ...known,
    uses: known.uses + more.uses,
    firstUsedAtMs: Math.min(known.firstUsedAtMs, more.firstUsedAtMs),
    lastUsedAtMs: Math.max(known.lastUsedAtMs, more.lastUsedAtMs),
  }
}

const OTHERS_KEY = keyOf(OTHERS)

function agentOf(source: AgentSource): string | undefined {
  if (source === undefined) return undefined
  const agent = typeof source === 'string' ? source : headerIn(source)
  return agent === undefined || agent === '' ? undefined : cleaned(agent)
}

/** In the list of names and values that Node makes of a head. */
function headerIn(raw: readonly string[]): string | undefined {
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? ''
    if (name.length === 10 && name.toLowerCase() === 'user-agent') return raw[i + 1]
  }
  return undefined
}

/** Services pass on what they were sent: it is cut, and no line break gets into a table of ours. */
function cleaned(agent: string): string {
  return agent.slice(0, MAX_AGENT_LENGTH).replace(/[^\P{C}]/gu, ' ')
}
