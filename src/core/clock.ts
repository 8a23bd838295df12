/** The only source of time in core; tests move it instead of waiting. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
}

/** The clock of others, read once. The instants of asking are by the monotonic clock, in milliseconds. */
export interface ClockReading {
  /** Milliseconds since the Unix epoch, at some moment between asking and hearing. */
  atMs: number
  sentAtMs: number
  receivedAtMs: number
}

/** A clock that goes by one that many share, where there is one. */
export interface GuidedClock extends Clock {
  /** Sets it right. It never goes back while it is used. */
  guide(reading: ClockReading): void
}

export function isGuided(clock: Clock): clock is GuidedClock {
  return 'guide' in clock
}
