import type { CoreError } from '../core/errors.ts'
import { line } from './line.ts'

export interface GateOptions {
  /** Who is inside at most. */
  places: number
  /** Of them, kept free for what is vital. */
  reserved: number
  /** Who waits outside at most, and for how long. */
  maxWaiting: number
  waitMs: number
  isVital: () => boolean
  /** Called with each that is turned away. */
  onTurnedAway: () => void
  /** What those are told who are turned away. */
  refusal: () => CoreError
}

/** Lets in so many at a time. */
export interface Gate {
  /** Resolves inside. Rejects with `unavailable` when there are too many, or it took too long. */
  enter(): Promise<void>
  /** To be called once by whoever has entered. */
  leave(): void
}

interface Waiter {
  proceed: () => void
  refuse: () => void
}

export function gate(options: GateOptions): Gate {
  const { places, reserved, waitMs, isVital, onTurnedAway, refusal } = options
  const waiting = line<Waiter>({ max: options.maxWaiting, waitMs }, ({ refuse }) => refuse())
  let free = places

  function letIn(): void {
    while (free > 0) {
      const next = waiting.next(free <= reserved)
      if (next === undefined) return
      free--
      next.proceed()
    }
  }

  return {
    async enter() {
      const vital = isVital()
      if (free > (vital ? 0 : reserved)) {
        free--
        return
      }
      await new Promise<void>((resolve, reject) => {
        const refuse = () => {
          clearTimeout(timer)
          onTurnedAway()
          reject(refusal())
        }
        const waiter: Waiter = {
          proceed() {
            clearTimeout(timer)
            resolve()
          },
          refuse,
        }
        const timer = setTimeout(() => {
          waiting.leave(waiter)
          refuse()
        }, waitMs)
        if (!waiting.join(waiter, vital)) refuse()
      })
    },
    leave() {
      free++
      letIn()
    },
  }
}
