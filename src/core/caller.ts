import type { Principal } from './rights.ts'
import type { Via } from './tokens/token.ts'

/** Where a request came from, for the audit trail. */
export interface Origin {
  ip: string | undefined
  requestId: string | undefined
  via: Via | 'system'
}

/** Who is asking, and from where. The first argument of everything that changes or reads. */
export interface Caller {
  principal: Principal
  origin: Origin
}
