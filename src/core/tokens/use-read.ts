import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId } from '../id.ts'
import { compileQuery, type InventoryWish } from './inventory.ts'
import { getToken } from './read.ts'
import { STEP_MS, type UseCount, type UseOutcome, type UseStep } from './use.ts'
import type { UseBy } from './use-store.ts'

/** A span in steps. */
export interface UseSpan {
  /** Absent: an hour, a day or thirty days before its end, by the step. */
  fromMs: number | undefined
  /** Absent: now. */
  toMs: number | undefined
  step: UseStep
}

export interface UsePoint {
  atMs: number
  uses: number
  refused: number
}

export interface UseSeries {
  fromMs: number
  toMs: number
  step: UseStep
  uses: number
  refused: number
  /** Why tokens were refused, the most frequent first. */
  refusals: { reason: string; count: number }[]
  /** One for each step, without gaps. */
  points: UsePoint[]
}

export interface UseFigure {
  value: string
  uses: number
  refused: number
}

const DEFAULT_MS: Readonly<Record<UseStep, number>> = {
  minute: 3_600_000,
  hour: 86_400_000,
  day: 30 * 86_400_000,
}
const MAX_POINTS = 1500

/** How often a token was used and refused. Throws `not_found`, `invalid_input`. */
export async function tokenUse(
  deps: Deps,
  caller: Caller,
  { id, span }: { id: TokenId; span: UseSpan },
): Promise<UseSeries> {
  await getToken(deps, caller, id)
  const settled = settledSpan(deps, span)
  const counts = await deps.store.use.series(id, { ...settled, stepMs: STEP_MS[span.step] })
  return seriesOf(counts, settled)
}

/**
 * The same of all tokens that a query means, and by what they have in common; the most used first.
 * Throws `invalid_input`, `forbidden`.
 */
export async function useFigures(
  deps: Deps,
  caller: Caller,
  { span, by, ...wish }: InventoryWish & { span: UseSpan; by: UseBy },
): Promise<{ series: UseSeries; figures: UseFigure[] }> {
  const { tokens, nowMs } = await compileQuery(deps, caller, wish)
  const settled = settledSpan(deps, span)
  const counts = new Map<string, UseCount>()
  const figures = new Map<string, UseFigure>()
  const asked = { ...settled, stepMs: STEP_MS[span.step], by, tokens, nowMs }
  for await (const { value, ...count } of deps.store.use.figures(asked)) {
    if (by !== 'group') addTo(counts, count)
    if (value === null) continue
    const figure = figures.get(value) ?? { value, uses: 0, refused: 0 }
    figures.set(value, figure)
    if (count.outcome === 'used') figure.uses += count.count
    else figure.refused += count.count
  }
  if (by === 'group') {
    // A token counts for each of its groups, but once in all.
    for await (const count of deps.store.use.figures({ ...asked, by: 'kind' })) addTo(counts, count)
  }
  return {
    series: seriesOf([...counts.values()], settled),
    figures: [...figures.values()].toSorted(
      (a, b) => b.uses - a.uses || b.refused - a.refused || (a.value < b.value ? -1 : 1),
    ),
  }
}

function addTo(counts: Map<string, UseCount>, { startMs, outcome, count }: UseCount): void {
  const key = `${startMs} ${outcome}`
  const before = counts.get(key)?.count ?? 0
  counts.set(key, { startMs, outcome, count: before + count })
}

interface SettledSpan {
  fromMs: number
  toMs: number
  step: UseStep
}

/** Beginning at the start of a step. */
function settledSpan({ clock }: Deps, { fromMs, toMs, step }: UseSpan): SettledSpan {
  const stepMs = STEP_MS[step]
  const endMs = toMs ?? clock.now() + 1
  const wantedMs = fromMs ?? endMs - DEFAULT_MS[step]
  const startMs = wantedMs - (wantedMs % stepMs)
  if (startMs < 0 || startMs >= endMs) {
    throw new CoreError('invalid_input', 'from must be before to.')
  }
  if ((endMs - startMs) / stepMs > MAX_POINTS) {
    throw new CoreError(
      'invalid_input',
      `That is more than ${MAX_POINTS} steps. Ask for a shorter span or a longer step.`,
    )
  }
  return { fromMs: startMs, toMs: endMs, step }
}

function seriesOf(counts: readonly UseCount[], { fromMs, toMs, step }: SettledSpan): UseSeries {
  const stepMs = STEP_MS[step]
  const points = Array.from({ length: Math.ceil((toMs - fromMs) / stepMs) }, (_, i) => ({
    atMs: fromMs + i * stepMs,
    uses: 0,
    refused: 0,
  }))
  const byOutcome = new Map<UseOutcome, number>()
  for (const { startMs, outcome, count } of counts) {
    byOutcome.set(outcome, (byOutcome.get(outcome) ?? 0) + count)
    const point = points[Math.floor((startMs - fromMs) / stepMs)]
    if (point === undefined) continue
    if (outcome === 'used') point.uses += count
    else point.refused += count
  }
  const uses = byOutcome.get('used') ?? 0
  byOutcome.delete('used')
  const refusals = [...byOutcome].map(([reason, count]) => ({ reason, count }))
  return {
    fromMs,
    toMs,
    step,
    uses,
    refused: refusals.reduce((sum, { count }) => sum + count, 0),
    refusals: refusals.toSorted((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
    points,
  }
}
