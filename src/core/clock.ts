/** The only source of time in core; tests move it instead of waiting. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
}
