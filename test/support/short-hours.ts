import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

// Loaded into a server (`node --import`) whose hours a trial cannot wait for: what it does every hour or so
// it does every half minute. SIGUSR2 collects all garbage, so that what is left in memory is in use.

const LONG_MS = 600_000
const SHORT_MS = 30_000

const regularly = setInterval
globalThis.setInterval = ((work: () => void, ms: number) =>
  regularly(work, ms >= LONG_MS ? SHORT_MS : ms)) as typeof setInterval

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
process.on('SIGUSR2', () => {
  // Twice: what has a finalizer goes only then.
  collect()
  collect()
})
