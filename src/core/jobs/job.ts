import type { Origin } from '../caller.ts'
import type { JobId, TokenId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { TokenQuery } from '../tokens/filter.ts'

export const BULK_ACTIONS = ['revoke', 'set_expiry'] as const
/** What can be done to many tokens. Both only take away, so that nothing gains by them. */
export type BulkAction = (typeof BULK_ACTIONS)[number]

export const JOB_STATES = ['selecting', 'running', 'done', 'cancelled', 'failed'] as const
/** `selecting`: picking its tokens; `running`: acting on them. The others are final. */
export type JobState = (typeof JOB_STATES)[number]

/** An action on all tokens that a query selected when it was asked for. */
export interface Job {
  id: JobId
  action: BulkAction
  /** Of `set_expiry`. */
  expiresAtMs: number | undefined
  /** As it was written, without secrets that were pasted into it. */
  query: string
  /** What it meant then. */
  tokens: TokenQuery
  reason: string
  /** Who asked, with which token, and from where. */
  ownerId: UserId
  tokenId: TokenId
  origin: Origin
  /** The job has ended the token that asked for it, and goes on without it. */
  outlivesToken: boolean
  state: JobState
  /** Why it failed. */
  problem: string | undefined
  /** How far its tokens have been picked. */
  place: Pick<Position, 'at' | 'id'> | undefined
  /** Tokens picked; final once it runs. */
  total: number
  /** Of these, how many it has dealt with. */
  done: number
  /** Tokens that were changed, families and children included. */
  changed: number
  /** Picked tokens that were left as they are: ended meanwhile, or not the asker's to change. */
  skipped: number
  createdAtMs: number
  /** When it had picked its tokens. */
  startedAtMs: number | undefined
  updatedAtMs: number
  finishedAtMs: number | undefined
}

export function isOpen({ state }: Pick<Job, 'state'>): boolean {
  return state === 'selecting' || state === 'running'
}

/** How long it may still take, going by what it has done; undefined: nobody can say. */
export function secondsLeft(job: Job, nowMs: number): number | undefined {
  const { startedAtMs, done, total } = job
  if (job.state !== 'running' || startedAtMs === undefined || done === 0) return undefined
  const tookMs = Math.max(0, nowMs - startedAtMs)
  return Math.ceil(((tookMs / done) * (total - done)) / 1000)
}
