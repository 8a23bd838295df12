import { inBatches } from '../batches.ts'
import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { Policy } from '../policy/policy.ts'
import { restraintsOf } from '../policy/restraint.ts'
import { isLax } from '../policy/terms.ts'
import type { Repositories } from '../store.ts'
import type { Ending, Mark } from './store.ts'

/** Of each token its row is read, which may have to come from the disk. */
const BATCH = 50
/**
 * A token may be committed a little after the time that it says it was made, and clocks of nodes differ:
 * ends are told of this much later, and no notice is given of what was born within it.
 */
const MARGIN_MS = 10_000

const SYSTEM: { origin: Origin } = {
  origin: { ip: undefined, requestId: undefined, via: 'system' },
}

/**
 * Tells of tokens that are about to end, at each of the policy's notice times, and of those that have
 * ended: each once, across restarts and nodes. A mark moves along the ends of tokens and never back; a
 * token that is younger than a notice time gets no notice at it. A token that the policy ends before its own
 * end is told of by that; one that the policy has just ended at once, by the change of the policy alone. Returns how many were told of.
 */
export async function giveNotices(deps: Deps): Promise<number> {
  const policy = deps.policy()
  const { noticeSeconds, tokenRules } = policy
  const all = [...noticeSeconds, ...tokenRules.flatMap((rule) => rule.noticeSeconds)]
  const ascending = [...new Set(all)].sort((a, b) => a - b)
  const notices: Notice[] = [{ aheadMs: -MARGIN_MS, fromMs: -MARGIN_MS, noticeSeconds: 0 }]
  for (const [i, seconds] of ascending.entries()) {
    // What is nearer its end than the next shorter time is told of at that time alone.
    const fromMs = (ascending[i - 1] ?? 0) * 1000
    notices.push({ aheadMs: seconds * 1000, fromMs, noticeSeconds: seconds })
  }
  let told = 0
  for (const notice of notices) {
    told += await sweep(deps, notice)
    for (const lifeSeconds of longestLives(policy)) {
      told += await sweep(deps, { ...notice, lifeSeconds })
    }
  }
  return told
}

/** All that the policy and its rules say how long tokens may live. */
function longestLives({ maxTokenTtlSeconds, tokenRules }: Policy): Set<number> {
  const all = [maxTokenTtlSeconds, ...tokenRules.map(({ maxTtlSeconds }) => maxTtlSeconds)]
  return new Set(all.filter((seconds) => typeof seconds === 'number'))
}

interface Notice {
  /** Tokens that end until so long from now. */
  aheadMs: number
  /** The first time, and after a long standstill: those that end after so long from now. */
  fromMs: number
  /** 0: they have ended. */
  noticeSeconds: number
  /** Those that the policy ends when they are so old; absent: those that end by themselves. */
  lifeSeconds?: number
}

async function sweep(deps: Deps, notice: Notice): Promise<number> {
  let told = 0
  await inBatches(deps.clock, BATCH, async () => {
    const { passed, count } = await deps.store.transaction((tx) => sweepBatch(deps, tx, notice))
    told += count
    return passed
  })
  return told
}

async function sweepBatch(
  deps: Deps,
  tx: Repositories,
  { aheadMs, fromMs, noticeSeconds, lifeSeconds }: Notice,
): Promise<{ passed: number; count: number }> {
  const name = `notice:${noticeSeconds}${lifeSeconds === undefined ? '' : `:${lifeSeconds}`}`
  const nowMs = deps.clock.now()
  const mark = await tx.events.mark(name)
  const from = startOf(mark, nowMs + fromMs, noticeSeconds === 0)
  const toMs = nowMs + aheadMs
  const endings =
    lifeSeconds === undefined
      ? await tx.events.endings(from, toMs, BATCH)
      : await tx.events.endingsAtAge(lifeSeconds * 1000, { from, toMs, limit: BATCH })
  const grown = endings.filter(
    ({ createdAtMs, expiresAtMs }) =>
      noticeSeconds === 0 || expiresAtMs - createdAtMs > noticeSeconds * 1000 + MARGIN_MS,
  )
  const due = await wanting(deps, tx, {
    endings: grown,
    noticeSeconds,
    isByPolicy: lifeSeconds !== undefined,
  })
  for (const { id, expiresAtMs } of due) {
    await deps.audit(tx, SYSTEM, {
      action: noticeSeconds === 0 ? 'token.expired' : 'token.expiring',
      subjectType: 'token',
      subjectId: id,
      after: noticeSeconds === 0 ? { expiresAtMs } : { expiresAtMs, noticeSeconds },
    })
  }
  const last = endings.at(-1)
  const isMore = last !== undefined && endings.length === BATCH
  const reached: Mark = isMore ? { at: last.expiresAtMs, id: last.id } : { at: toMs, id: LAST_ID }
  // Only forward: the clock of another node may be ahead.
  if (mark === undefined || reached.at > mark.at || isMore) await tx.events.setMark(name, reached)
  return { passed: endings.length, count: due.length }
}

/**
 * The tokens that end then and not before, and of which the policy, or a rule about them, wants a notice at
 * that time.
 */
async function wanting(
  deps: Deps,
  tx: Repositories,
  {
    endings,
    noticeSeconds,
    isByPolicy,
  }: { endings: readonly Ending[]; noticeSeconds: number; isByPolicy: boolean },
): Promise<readonly Ending[]> {
  const policy = deps.policy()
  const isForAll = noticeSeconds === 0 || policy.noticeSeconds.includes(noticeSeconds)
  if (isForAll && isLax(policy)) return endings
  const tokens = await tx.tokens.byIds(endings.map(({ id }) => id))
  const restraints = await restraintsOf(policy, tx, tokens)
  const own = new Map(tokens.map(({ id, expiresAtMs }) => [id, expiresAtMs]))
  return endings.filter(({ id, expiresAtMs }) => {
    const restraint = restraints.get(id)
    const policyMs = restraint?.endMs?.value ?? Number.POSITIVE_INFINITY
    const isTheEnd = isByPolicy
      ? policyMs === expiresAtMs && policyMs < (own.get(id) ?? Number.POSITIVE_INFINITY)
      : policyMs >= expiresAtMs
    return isTheEnd && (isForAll || restraint?.noticeSeconds.includes(noticeSeconds))
  })
}

/** Beyond every id. */
const LAST_ID = '~'

/** Of what ended nothing is left out, however long nobody looked; unless nobody ever did. */
function startOf(mark: Mark | undefined, earliestMs: number, hasEnded: boolean): Mark {
  if (mark !== undefined && (hasEnded || mark.at >= earliestMs)) return mark
  return { at: earliestMs, id: LAST_ID }
}

const DAY_MS = 86_400_000
const WITHIN_DAYS = [1, 7, 30, 90] as const

/** How many live tokens of a kind end within so many days. */
export interface EndingFigure {
  kind: string
  withinDays: number
  count: number
}

/**
 * What ends when. Counted day by day with a pause after each, so that a great many of them hold nobody
 * up for long.
 */
export async function endingFigures({ store, clock }: Deps): Promise<EndingFigure[]> {
  const nowMs = clock.now()
  const counts = new Map<string, number>()
  const figures: EndingFigure[] = []
  for (let day = 1; day <= Math.max(...WITHIN_DAYS); day++) {
    const span = await store.events.countEndings(nowMs + (day - 1) * DAY_MS, nowMs + day * DAY_MS)
    for (const { kind, count } of span) counts.set(kind, (counts.get(kind) ?? 0) + count)
    if ((WITHIN_DAYS as readonly number[]).includes(day)) {
      for (const [kind, count] of counts) figures.push({ kind, withinDays: day, count })
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return figures
}
