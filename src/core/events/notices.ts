import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { restraintOf } from '../policy/restraint.ts'
import type { Repositories } from '../store.ts'
import type { Ending, Mark } from './store.ts'

const BATCH = 200
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
 * token that is younger than a notice time gets no notice at it. Returns how many were told of.
 */
export async function giveNotices(deps: Deps): Promise<number> {
  const { noticeSeconds, tokenRules } = deps.policy()
  const all = [...noticeSeconds, ...tokenRules.flatMap((rule) => rule.noticeSeconds)]
  const ascending = [...new Set(all)].sort((a, b) => a - b)
  let told = await sweep(deps, { aheadMs: -MARGIN_MS, fromMs: -MARGIN_MS, noticeSeconds: 0 })
  for (const [i, seconds] of ascending.entries()) {
    // What is nearer its end than the next shorter time is told of at that time alone.
    const shorter = ascending[i - 1] ?? 0
    told += await sweep(deps, {
      aheadMs: seconds * 1000,
      fromMs: shorter * 1000,
      noticeSeconds: seconds,
    })
  }
  return told
}

interface Notice {
  /** Tokens that end until so long from now. */
  aheadMs: number
  /** The first time, and after a long standstill: those that end after so long from now. */
  fromMs: number
  /** 0: they have ended. */
  noticeSeconds: number
}

async function sweep(deps: Deps, notice: Notice): Promise<number> {
  let told = 0
  for (;;) {
    const { passed, count } = await deps.store.transaction((tx) => sweepBatch(deps, tx, notice))
    told += count
    if (passed < BATCH) return told
  }
}

async function sweepBatch(
  deps: Deps,
  tx: Repositories,
  { aheadMs, fromMs, noticeSeconds }: Notice,
): Promise<{ passed: number; count: number }> {
  const name = `notice:${noticeSeconds}`
  const nowMs = deps.clock.now()
  const mark = await tx.events.mark(name)
  const from = startOf(mark, nowMs + fromMs, noticeSeconds === 0)
  const toMs = nowMs + aheadMs
  const endings = await tx.events.endings(from, toMs, BATCH)
  const grown = endings.filter(
    ({ createdAtMs, expiresAtMs }) =>
      noticeSeconds === 0 || expiresAtMs - createdAtMs > noticeSeconds * 1000 + MARGIN_MS,
  )
  const due = await wanting(deps, tx, { endings: grown, noticeSeconds })
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

/** The tokens of which the policy, or a rule about them, wants a notice at that time. */
async function wanting(
  deps: Deps,
  tx: Repositories,
  { endings, noticeSeconds }: { endings: readonly Ending[]; noticeSeconds: number },
): Promise<readonly Ending[]> {
  const policy = deps.policy()
  if (noticeSeconds === 0 || policy.noticeSeconds.includes(noticeSeconds)) return endings
  const wanted: Ending[] = []
  for (const ending of endings) {
    const token = await tx.tokens.glance(ending.id)
    const restraint = token && (await restraintOf(policy, tx, token))
    if (restraint?.noticeSeconds.includes(noticeSeconds)) wanted.push(ending)
  }
  return wanted
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
