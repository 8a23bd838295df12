import { CoreError } from '../core/errors.ts'

const RETRY_AFTER_SECONDS = 1

/**
 * Until when a node may answer from memory. It is counted by the monotonic clock from when a successful
 * question to the database was sent, so that neither a stepped clock nor a slow answer lengthens it.
 */
export interface Lease {
  isValid(): boolean
  /** For `leaseMs` from `sentAtMs`, an instant of the monotonic clock. */
  renew(sentAtMs: number): void
  /** Undefined: it never ends. */
  leftMs(): number | undefined
}

/** Of a process that nobody can have changed anything behind. */
export const NO_LEASE: Lease = {
  isValid: () => true,
  renew: () => undefined,
  leftMs: () => undefined,
}

export function openLease(leaseMs: number): Lease {
  let untilMs = 0
  return {
    isValid: () => performance.now() < untilMs,
    renew(sentAtMs) {
      untilMs = Math.max(untilMs, sentAtMs + leaseMs)
    },
    leftMs: () => Math.max(0, untilMs - performance.now()),
  }
}

export function leaseIsOver(): CoreError {
  return new CoreError(
    'unavailable',
    'This node has lost the database and cannot know what was revoked since. Try again shortly, or ask another node.',
    { retryAfterSeconds: RETRY_AFTER_SECONDS, isToldOnce: true },
  )
}
