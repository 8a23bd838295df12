import type { Store } from '../store.ts'
import type { RateTerm } from './restraint.ts'
import type { Rate } from './rule.ts'
import type { Term } from './terms.ts'

/** How often one token may still be used. */
export interface Budget {
  rates: readonly Term<Rate>[]
  /** The rate that allows nothing now, and for how many milliseconds; undefined: one use is allowed. */
  refusal(nowMs: number): { rate: Term<Rate>; waitMs: number } | undefined
  /**
   * Takes one use, which `refusal` has allowed. False: the share of this node is used up, and nothing
   * was taken; ask again after `refill`.
   */
  take(nowMs: number): boolean
  /** Gets a share from the database. Throws `unavailable`. */
  refill(nowMs: number): Promise<void>
}

export interface RateLimiter {
  budgetFor(rates: readonly RateTerm[]): Budget | undefined
}

/** Instants are computed in fractions of milliseconds; less than this is no time at all. */
const NOTHING_MS = 1e-3
/** A share is at most this part of a rate, and lasts as long as this part of its window. */
const SHARE = 0.05
/** Long enough for an answer from the database; a twentieth more than one node would allow in a second. */
const LEAST_LOT_MS = 100
/** Budgets in memory before whole ones are looked for. */
const FEW = 1000

/** Uses that the database has granted to this node, until it wants them back. */
interface Lot {
  left: number
  untilMs: number
}

interface Account {
  /** When the budget is whole again, by the uses on this node. */
  usedUntilMs: number
  lots: Lot[]
  /** Uses to ask for next. */
  share: number
  /** The database has nothing before then. */
  spentUntilMs: number
  asking: Promise<void> | undefined
  /** Uses that wait for it. */
  waiting: number
}

const intervalMs = ({ requests, windowSeconds }: Rate) => (windowSeconds * 1000) / requests

/** How long until a use is allowed: the generic cell rate algorithm, one number for each budget. */
function waitMs(usedUntilMs: number, rate: Rate, nowMs: number): number {
  const fullMs = nowMs + rate.windowSeconds * 1000
  const wait = Math.max(usedUntilMs, nowMs) + intervalMs(rate) - fullMs
  return wait > NOTHING_MS ? wait : 0
}

/** Up to when the budget is used up after some more uses. */
function usedAfter(usedUntilMs: number, rate: Rate, nowMs: number, uses = 1): number {
  return Math.max(usedUntilMs, nowMs) + uses * intervalMs(rate)
}

/**
 * Budgets by key, in memory. Where nodes share a database they take shares of each budget from it: so
 * small and so short-lived that together they allow at most a twentieth more than one node would, and
 * ahead of need, so that whoever asks seldom waits for the database. A node's own count binds besides,
 * so that one node alone is exact.
 */
export function rateLimiter(store: Pick<Store, 'transaction' | 'isShared'>): RateLimiter {
  const accounts = new Map<string, Account>()
  let many = FEW

  function accountOf(key: string): Account {
    const known = accounts.get(key)
    if (known !== undefined) return known
    const fresh: Account = {
      usedUntilMs: 0,
      lots: [],
      share: 1,
      spentUntilMs: 0,
      asking: undefined,
      waiting: 0,
    }
    accounts.set(key, fresh)
    return fresh
  }

  /** A budget that is whole again is like one that was never used. */
  function forgetWhole(nowMs: number): void {
    if (accounts.size < many) return
    for (const [key, { usedUntilMs, spentUntilMs, lots, asking }] of accounts) {
      const isIdle = lots.every(({ untilMs }) => untilMs <= nowMs) && asking === undefined
      if (isIdle && Math.max(usedUntilMs, spentUntilMs) <= nowMs) accounts.delete(key)
    }
    many = Math.max(FEW, accounts.size * 2)
  }

  /** Whether this node holds a use that the database has granted. */
  function isReady({ key, value }: RateTerm, nowMs: number): boolean {
    if (!store.isShared) return true
    const account = accountOf(key)
    sortOut(account, { rate: value, nowMs })
    const left = account.lots.reduce((sum, lot) => sum + lot.left, 0)
    // Ahead of need. What goes wrong there is told to whoever finds nothing left.
    if (left > 0 && left <= account.share / 4) {
      ask({ key, value }, account, nowMs).catch(() => undefined)
    }
    return left > 0
  }

  function ask(
    { key, value }: Pick<RateTerm, 'key' | 'value'>,
    account: Account,
    nowMs: number,
  ): Promise<void> {
    const wanted = Math.min(Math.max(account.share, account.waiting), most(value))
    account.asking ??= lease(store, { key, rate: value, wanted, nowMs })
      .then(({ granted, waitMs }) => {
        const lastsMs = Math.max(value.windowSeconds * 1000 * SHARE, LEAST_LOT_MS)
        if (granted > 0) account.lots.push({ left: granted, untilMs: nowMs + lastsMs })
        else account.spentUntilMs = nowMs + waitMs
      })
      .finally(() => {
        account.asking = undefined
      })
    return account.asking
  }

  function budgetFor(rates: readonly RateTerm[]): Budget | undefined {
    if (rates.length === 0) return undefined
    return {
      rates,
      refusal(nowMs) {
        let longest: { rate: Term<Rate>; waitMs: number } | undefined
        for (const rate of rates) {
          const account = accounts.get(rate.key)
          if (account === undefined) continue
          const spentMs = holdsUse(account, nowMs) ? 0 : account.spentUntilMs - nowMs
          const wait = Math.max(
            waitMs(usedMs(account, rate.value, nowMs), rate.value, nowMs),
            spentMs,
          )
          if (wait > (longest?.waitMs ?? 0)) longest = { rate, waitMs: wait }
        }
        return longest
      },
      take(nowMs) {
        if (!rates.map((rate) => isReady(rate, nowMs)).every(Boolean)) return false
        for (const { key, value } of rates) {
          const account = accountOf(key)
          account.usedUntilMs = usedAfter(usedMs(account, value, nowMs), value, nowMs)
          const [lot] = account.lots
          if (lot !== undefined) lot.left--
        }
        forgetWhole(nowMs)
        return true
      },
      async refill(nowMs) {
        for (const rate of rates) {
          const account = accountOf(rate.key)
          if (holdsUse(account, nowMs)) continue
          account.waiting++
          await ask(rate, account, nowMs).finally(() => {
            account.waiting--
          })
        }
      },
    }
  }

  return { budgetFor }
}

/** Asks for more next time where a lot was used up, and for less where it was left lying. */
function sortOut(account: Account, { rate, nowMs }: { rate: Rate; nowMs: number }): void {
  account.lots = account.lots.filter(({ left, untilMs }) => {
    if (left > 0 && untilMs > nowMs) return true
    account.share =
      left > 0
        ? Math.max(1, Math.floor(account.share / 2))
        : Math.min(account.share * 2, most(rate))
    return false
  })
}

function holdsUse({ lots }: Account, nowMs: number): boolean {
  return lots.some(({ left, untilMs }) => left > 0 && untilMs > nowMs)
}

/** A rate that was changed counts what is used as its own window allows. */
function usedMs({ usedUntilMs }: Account, { windowSeconds }: Rate, nowMs: number): number {
  return Math.min(usedUntilMs, nowMs + windowSeconds * 1000)
}

function most({ requests }: Rate): number {
  return Math.max(1, Math.floor(requests * SHARE))
}

/** Takes up to `wanted` uses from the budget that all nodes share. */
function lease(
  store: Pick<Store, 'transaction'>,
  { key, rate, wanted, nowMs }: { key: string; rate: Rate; wanted: number; nowMs: number },
): Promise<{ granted: number; waitMs: number }> {
  return store.transaction(async (tx) => {
    const stored = (await tx.rates.usedUntilMs(key)) ?? 0
    const usedMs = Math.min(stored, nowMs + rate.windowSeconds * 1000)
    const wait = waitMs(usedMs, rate, nowMs)
    if (wait > 0) return { granted: 0, waitMs: wait }
    const room = nowMs + rate.windowSeconds * 1000 - Math.max(usedMs, nowMs)
    const granted = Math.min(wanted, Math.floor((room + NOTHING_MS) / intervalMs(rate)))
    await tx.rates.use(key, usedAfter(usedMs, rate, nowMs, granted))
    return { granted, waitMs: 0 }
  })
}
