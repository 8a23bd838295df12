// Loaded into a server (`node --import`): its wall clock steps with every SIGUSR2, and stays steady in
// between, as when somebody sets the time of a machine. The monotonic clock does not notice.

const STEPS_MS = [3000, -3000, 0]

const now = Date.now
let steps = 0
process.on('SIGUSR2', () => {
  const offsetMs = STEPS_MS[steps++ % STEPS_MS.length] ?? 0
  Date.now = () => now() + offsetMs
})
