import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { TokenId } from '../id.ts'

/** Collects uses of quarantined tokens in memory, as the verifier may not wait, and tells of them. */
export interface QuarantineAlarm {
  record(tokenId: TokenId, ip: string | undefined): void
  /** Writes an event for each token that was tried, but not for the same one again and again. */
  flush(): Promise<void>
}

interface Attempts {
  count: number
  ip: string | undefined
}

/** After an event about a token, the next one waits so long and then tells how often it was tried. */
const QUIET_MS = 300_000
/** Tokens remembered at most; whoever floods us with more makes enough noise. */
const MAX_TOKENS = 10_000

const SYSTEM: Origin = { ip: undefined, requestId: undefined, via: 'system' }

export function quarantineAlarm(deps: Pick<Deps, 'store' | 'clock' | 'audit'>): QuarantineAlarm {
  const pending = new Map<TokenId, Attempts>()
  const toldAtMs = new Map<TokenId, number>()

  return {
    record(tokenId, ip) {
      const known = pending.get(tokenId)
      if (known !== undefined) {
        known.count++
        known.ip = ip ?? known.ip
      } else if (pending.size < MAX_TOKENS) {
        pending.set(tokenId, { count: 1, ip })
      }
    },
    async flush() {
      const nowMs = deps.clock.now()
      for (const [id, atMs] of toldAtMs) if (nowMs - atMs >= QUIET_MS) toldAtMs.delete(id)
      for (const [id, { count, ip }] of pending) {
        if (toldAtMs.has(id)) continue
        pending.delete(id)
        toldAtMs.set(id, nowMs)
        await deps.store.transaction((tx) =>
          deps.audit(
            tx,
            { origin: { ...SYSTEM, ip } },
            {
              action: 'token.quarantine_used',
              subjectType: 'token',
              subjectId: id,
              after: { attempts: count, ...(ip === undefined ? {} : { ip }) },
            },
          ),
        )
      }
    },
  }
}
