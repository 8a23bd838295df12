import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { Repositories } from '../store.ts'
import { type Issued, saveToken } from '../tokens/issue.ts'
import { UNLIMITED, type Via } from '../tokens/token.ts'
import type { User } from './user.ts'

export interface Session extends Issued {
  user: User
}

export interface SessionDraft {
  user: User
  origin: Origin
  via: Via
  format: 'mintmark' | 'hex' | 'uuid'
  ttlSeconds: number
  /** Absent: it may stand idle until it ends. */
  idleSeconds?: number
}

/** Saves the session of somebody who has just proven who he is: it stands for the person. */
export async function saveSession(
  deps: Deps,
  tx: Repositories,
  { user, origin, via, format, ttlSeconds, idleSeconds }: SessionDraft,
): Promise<Session> {
  const nowMs = deps.clock.now()
  const issued = await saveToken(deps, tx, {
    actor: { origin, user },
    ownerId: user.id,
    creatorId: user.id,
    creatorTokenId: undefined,
    kind: 'session',
    name: undefined,
    limits: UNLIMITED,
    expiresAtMs: nowMs + ttlSeconds * 1000,
    ...(idleSeconds === undefined ? {} : { idleSeconds }),
    via,
    format,
  })
  return { ...issued, user: { ...user, lastLoginAtMs: nowMs } }
}
