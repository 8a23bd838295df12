import { describe, expect, it } from 'vitest'
import { steadyClock } from './steady-clock.ts'

/** A machine whose two clocks a test moves, and a database with one of its own. */
function stage() {
  const machine = { wallMs: 1_000_000, monotonicMs: 5000.25, databaseMs: 2_000_000 }
  const clock = steadyClock({ wall: () => machine.wallMs, monotonic: () => machine.monotonicMs })
  const pass = (ms: number) => {
    machine.wallMs += ms
    machine.monotonicMs += ms
    machine.databaseMs += ms
  }
  /** Asks the database, which answers after so long, half of it each way unless told. */
  const ask = (wayMs: number, backMs = wayMs) => {
    const sentAtMs = machine.monotonicMs
    pass(wayMs)
    const atMs = Math.floor(machine.databaseMs)
    pass(backMs)
    clock.guide({ atMs, sentAtMs, receivedAtMs: machine.monotonicMs })
  }
  const error = () => Math.abs(clock.now() - machine.databaseMs)
  return { machine, clock, pass, ask, error }
}

describe('alone', () => {
  it('does not notice when the clock of the machine is put back', () => {
    const { machine, clock, pass } = stage()
    expect(clock.now()).toBe(1_000_000)
    pass(500)
    machine.wallMs -= 3_600_000
    clock.check()
    pass(1)
    expect(clock.now()).toBe(1_000_501)
    expect(clock.wallAheadMs()).toBe(-3_600_000)
  })

  it('follows it ahead, as after a machine has slept', () => {
    const { machine, clock } = stage()
    machine.wallMs += 3_600_000
    clock.check()
    expect(clock.now()).toBe(4_600_000)
    machine.wallMs -= 3_600_000
    clock.check()
    expect(clock.now()).toBe(4_600_000)
  })

  it('begins no earlier than the other processes of the server are', () => {
    const parts = { wall: () => 1000, monotonic: () => 7, notBeforeMs: 9000 }
    expect(steadyClock(parts).now()).toBe(9000)
  })
})

describe('guided by a database', () => {
  it('goes by its clock, whatever the machine says, within half of the way there and back', () => {
    const { machine, clock, pass, ask, error } = stage()
    ask(3)
    expect(error()).toBeLessThanOrEqual(1)
    machine.wallMs += 86_400_000
    clock.check()
    pass(1000)
    expect(error()).toBeLessThanOrEqual(1)
    machine.wallMs -= 2 * 86_400_000
    pass(1000)
    expect(error()).toBeLessThanOrEqual(1)
  })

  it('lets no slow answer spoil what it knows', () => {
    const { pass, ask, error } = stage()
    ask(1)
    pass(1000)
    ask(0, 4000)
    expect(error()).toBeLessThanOrEqual(2)
    pass(1000)
    ask(4000, 0)
    expect(error()).toBeLessThanOrEqual(3)
  })

  it('is set right by a quick answer after a slow one', () => {
    const { pass, ask, error } = stage()
    ask(0, 4000)
    expect(error()).toBeGreaterThan(1900)
    pass(1000)
    ask(1)
    expect(error()).toBeLessThanOrEqual(1)
  })

  it('goes ahead at once, and back only slowly and never in what it says', () => {
    const { machine, clock, pass, ask, error } = stage()
    ask(1)
    machine.databaseMs += 5000
    pass(1000)
    ask(1)
    expect(error()).toBeLessThanOrEqual(1)
    machine.databaseMs -= 50
    let last = clock.now()
    for (let i = 0; i < 8; i++) {
      pass(1000)
      ask(1)
      const now = clock.now()
      expect(now).toBeGreaterThan(last)
      last = now
    }
    expect(error()).toBeLessThanOrEqual(1)
  })
})
