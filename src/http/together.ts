/** So many wait for each other, at most. */
const MOST = 8

/**
 * Puts off pieces of work until there are a few, or all that has come in this turn of the event loop is read; then
 * does them in order. For answers to clients that wait: each write wakes a process that sleeps, which is dear; of
 * several in a row all but the first find it awake.
 */
export function together(): (work: () => void) => void {
  let waiting: (() => void)[] = []

  function doAll(): void {
    const all = waiting
    waiting = []
    for (const work of all) work()
  }

  return (work) => {
    waiting.push(work)
    if (waiting.length === MOST) doAll()
    else if (waiting.length === 1) setImmediate(doAll)
  }
}
