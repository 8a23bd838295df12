/** A line that has not been empty for so long is no burst: waiting in it does not help those who come. */
const STANDING_MS = 500
/** How long anybody waits in a line that stands; answers are to come within a second. */
const STANDING_WAIT_MS = 800

export interface LineOptions {
  /** Who waits at most, of each kind. */
  max: number
  /** For how long. */
  waitMs: number
}

/** Work that waits for its turn: what is vital goes first, then in the order of coming. */
export interface Line<T> {
  /** Says false when there is no room. */
  join(item: T, isVital: boolean): boolean
  /** Takes out whose turn it is; `vitalOnly`: there is a turn for such work alone. */
  next(vitalOnly?: boolean): T | undefined
  /** Takes out somebody who does not wait any more. */
  leave(item: T): void
  /** Takes out everybody. */
  all(): T[]
  isEmpty(): boolean
}

interface Place<T> {
  item: T
  sinceMs: number
}

/**
 * A bounded line. While it stands, it is served from those who came lately: the others have waited for so
 * long that their clients have gone, and serving them would make everybody behind them as late.
 * `onOverdue` tells them.
 */
export function line<T>({ max, waitMs }: LineOptions, onOverdue: (item: T) => void): Line<T> {
  const vital: T[] = []
  const others: Place<T>[] = []
  let emptyMs = performance.now()

  function patienceMs(nowMs: number): number {
    return nowMs - emptyMs > STANDING_MS ? Math.min(waitMs, STANDING_WAIT_MS) : waitMs
  }

  return {
    join(item, isVital) {
      if ((isVital ? vital : others).length >= max) return false
      if (isVital) vital.push(item)
      else {
        const nowMs = performance.now()
        if (others.length === 0) emptyMs = nowMs
        others.push({ item, sinceMs: nowMs })
      }
      return true
    },
    next(vitalOnly = false) {
      if (vital.length > 0 || vitalOnly) return vital.shift()
      const nowMs = performance.now()
      const patience = patienceMs(nowMs)
      for (let place = others.shift(); place !== undefined; place = others.shift()) {
        if (nowMs - place.sinceMs <= patience) return place.item
        onOverdue(place.item)
      }
      return undefined
    },
    leave(item) {
      const i = vital.indexOf(item)
      if (i >= 0) vital.splice(i, 1)
      const j = others.findIndex((place) => place.item === item)
      if (j >= 0) others.splice(j, 1)
    },
    all: () => [...vital.splice(0), ...others.splice(0).map(({ item }) => item)],
    isEmpty: () => vital.length === 0 && others.length === 0,
  }
}
