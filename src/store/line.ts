/** A shorter line is no overload, however slow the database is: its clients wait for their answers. */
const LINE_LEAST = 8
/** One that has been longer for so long is no burst: waiting in it does not help those who come. */
const STANDING_MS = 1000
/**
 * In one that has been longer for so long the latest goes first. Nobody is turned away for it: if it was a burst, all
 * are served in the same time. If it goes on, those who are served until the line is known to stand would all have
 * waited for as long as that.
 */
const LATEST_FIRST_MS = 250
/**
 * So much longer a request waits in a line that is long and not known to stand: it may be a burst, but an answer
 * that comes after a second helps nobody then, either.
 */
const BURST_MS = 200
/** What is waited at most in a line that stands where nothing else is said. */
const STANDING_WAIT_MS = 700
/** For so long after somebody was turned away for that, there is no hope of serving all. */
const HOPELESS_MS = 1000
/** How often those are looked for who have waited too long, while nobody is served. */
const SWEEP_MS = 100

/** Who waits for something, as far as a line cares. */
export interface Asker {
  /** What is asked for takes something away, or tells how the server is. */
  readonly isVital: boolean
  /** When it was asked for, by `performance.now()`: one wait is not forgotten in the next. */
  readonly sinceMs: number
  /** After so long in all it is not begun any more, where a line stands. */
  readonly patienceMs: number
  /** A change was begun for it: to leave the rest undone would be a waste. */
  hasBegun: boolean
}

/** For what nobody waits for, such as the batches of a bulk revocation: little, and long decided. */
export function nobody(): Asker {
  const sinceMs = performance.now()
  return { isVital: false, hasBegun: true, sinceMs, patienceMs: Number.POSITIVE_INFINITY }
}

export interface LineOptions {
  /** Who waits at most, of each rank. */
  max: number
  /** For how long. */
  waitMs: number
  /** The same for those who go before others. */
  firstWaitMs?: number
  /** Of how many on a line may stand. */
  least?: number
  /** From when on. */
  standingMs?: number
}

/**
 * Work that waits for its turn. What is vital goes first, then what goes on with something that was begun,
 * then who has had a turn here before, then all others.
 */
export interface Line<T> {
  /** `asker` undefined: nobody waits for an answer. Says false when there is no room. */
  join(item: T, asker: Asker | undefined): boolean
  /** Takes out whose turn it is; `vitalOnly`: there is a turn for such work alone. */
  next(vitalOnly?: boolean): T | undefined
  /** Notes somebody who has had a turn without waiting. */
  passed(asker: Asker | undefined): void
  /** Takes out everybody. */
  all(): T[]
  isEmpty(): boolean
}

interface Place<T> {
  item: T
  asker: Asker | undefined
  joinedMs: number
  sinceMs: number
  patienceMs: number
}

const endOf = ({ sinceMs, patienceMs }: Place<unknown>) => sinceMs + patienceMs

const VITAL = 0
const BEGUN = 1
const KNOWN = 2
const NEW = 3

/**
 * A bounded line. While it stands, nobody is served whose request has waited for so long that its client has
 * gone: that would make everybody behind as late. Where this happens, or a line has been long for a moment, more
 * come than can be served, and of those who are new the latest goes first: the others would be served too late,
 * each of them.
 * `onOverdue` is told of everybody who has waited in vain.
 */
export function line<T>(
  { max, waitMs, firstWaitMs = waitMs, least = LINE_LEAST, standingMs = STANDING_MS }: LineOptions,
  onOverdue: (item: T) => void,
): Line<T> {
  const ranks: [Place<T>[], Place<T>[], Place<T>[], Place<T>[]] = [[], [], [], []]
  const known = new WeakSet<Asker>()
  let longSinceMs = Number.POSITIVE_INFINITY
  let overdueMs = Number.NEGATIVE_INFINITY
  let isSweeping = false

  function rankOf(asker: Asker | undefined): 0 | 1 | 2 | 3 {
    if (asker === undefined) return NEW
    if (asker.isVital) return VITAL
    if (asker.hasBegun) return BEGUN
    return known.has(asker) ? KNOWN : NEW
  }

  const isHopeless = (nowMs: number) => nowMs - overdueMs < HOPELESS_MS
  /** Work for which nobody waits asks several times, each time as new: the latest would never let the first be done. */
  const isLatestFirst = (nowMs: number) =>
    isHopeless(nowMs) ||
    (nowMs - longSinceMs > LATEST_FIRST_MS && ranks[NEW].at(-1)?.asker !== undefined)
  const isEmpty = () => ranks.every(({ length }) => length === 0)

  const isLong = () => ranks[KNOWN].length + ranks[NEW].length >= least

  /** To be called whenever somebody has come or gone. */
  function measure(nowMs: number): void {
    if (!isLong()) longSinceMs = Number.POSITIVE_INFINITY
    else longSinceMs = Math.min(longSinceMs, nowMs)
  }

  /** Each rank is in the order in which patience ends, so that the overdue ones stand in front. */
  function turnAwayOverdue(nowMs: number): void {
    for (const rank of [VITAL, BEGUN]) {
      takeWhile(ranks[rank] ?? [], ({ joinedMs }) => nowMs - joinedMs > firstWaitMs)
    }
    const isStanding = nowMs - longSinceMs > standingMs || isHopeless(nowMs)
    const graceMs = ({ asker }: Place<T>) => {
      if (isStanding) return 0
      return isLong() && asker !== undefined ? BURST_MS : Number.POSITIVE_INFINITY
    }
    for (const rank of [KNOWN, NEW]) {
      const count = takeWhile(
        ranks[rank] ?? [],
        (place) => nowMs - place.joinedMs > waitMs || nowMs - endOf(place) > graceMs(place),
      )
      if (count > 0) overdueMs = nowMs
    }
    measure(nowMs)
  }

  function takeWhile(places: Place<T>[], isOver: (place: Place<T>) => boolean): number {
    let count = 0
    while (places[count] !== undefined && isOver(places[count] as Place<T>)) count++
    for (const { item } of places.splice(0, count)) onOverdue(item)
    return count
  }

  function sweep(): void {
    isSweeping = false
    turnAwayOverdue(performance.now())
    if (!isEmpty()) sweepLater()
  }

  function sweepLater(): void {
    if (isSweeping) return
    isSweeping = true
    setTimeout(sweep, SWEEP_MS).unref()
  }

  function take(vitalOnly: boolean, nowMs: number): Place<T> | undefined {
    if (vitalOnly) return ranks[VITAL].shift()
    return (
      ranks[VITAL].shift() ??
      ranks[BEGUN].shift() ??
      ranks[KNOWN].shift() ??
      (isLatestFirst(nowMs) ? ranks[NEW].pop() : ranks[NEW].shift())
    )
  }

  function passed(asker: Asker | undefined): void {
    if (asker !== undefined) known.add(asker)
  }

  return {
    join(item, asker) {
      const rank = rankOf(asker)
      const places = ranks[rank]
      if (places.length >= max) return false
      const joinedMs = performance.now()
      const { sinceMs = joinedMs, patienceMs = STANDING_WAIT_MS } = asker ?? {}
      const place = { item, asker, joinedMs, sinceMs, patienceMs }
      // Nearly always the last.
      const before = places.findLastIndex((other) => endOf(other) <= endOf(place))
      places.splice(before + 1, 0, place)
      measure(joinedMs)
      sweepLater()
      return true
    },
    next(vitalOnly = false) {
      const nowMs = performance.now()
      turnAwayOverdue(nowMs)
      const place = take(vitalOnly, nowMs)
      measure(nowMs)
      passed(place?.asker)
      return place?.item
    },
    passed,
    all: () => ranks.flatMap((places) => places.splice(0).map(({ item }) => item)),
    isEmpty,
  }
}
