/** How a process that wants to write is told, and ended when it never passes the turn on. */
export interface Writer {
  grant(): void
  end(): void
}

/** One at a time, in the order in which they came. */
export interface TurnTaker {
  want(id: string, writer: Writer): void
  over(id: string): void
  /** It has ended, whatever it was doing: the database takes back what it had not committed. */
  leave(id: string): void
}

/**
 * Hands out turns to write. A process that was stopped in the middle of a transaction holds the lock of
 * the file as long as it exists, so one that keeps its turn longer than `patienceMs` is ended: nothing
 * that it had not committed was acknowledged.
 */
export function turnTaker(patienceMs: number): TurnTaker {
  const waiting = new Map<string, Writer>()
  let holder: string | undefined
  let timer: NodeJS.Timeout | undefined

  function next(): void {
    clearTimeout(timer)
    holder = undefined
    const [first] = waiting
    if (first === undefined) return
    const [id, writer] = first
    waiting.delete(id)
    holder = id
    timer = setTimeout(() => writer.end(), patienceMs)
    timer.unref()
    writer.grant()
  }

  return {
    want(id, writer) {
      waiting.set(id, writer)
      if (holder === undefined) next()
    },
    over(id) {
      if (holder === id) next()
    },
    leave(id) {
      waiting.delete(id)
      if (holder === id) next()
    },
  }
}
