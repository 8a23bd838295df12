import type { CoreError } from '../core/errors.ts'
import { type Asker, line } from './line.ts'

export interface GateOptions {
  /** Who is inside at most. */
  places: number
  /** Of them, kept free for what is vital. */
  reserved: number
  /** Who waits outside at most, and for how long. */
  maxWaiting: number
  waitMs: number
  /** For whom something is asked for now. */
  asker: () => Asker | undefined
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
  const { places, reserved, waitMs, onTurnedAway, refusal } = options
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
      const asker = options.asker()
      if (free > (asker?.isVital ? 0 : reserved)) {
        free--
        waiting.passed(asker)
        return
      }
      await new Promise<void>((proceed, reject) => {
        const refuse = () => {
          onTurnedAway()
          reject(refusal())
        }
        if (!waiting.join({ proceed, refuse }, asker)) refuse()
      })
    },
    leave() {
      free++
      letIn()
    },
  }
}
