import type { JobId, TokenId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { Job } from './job.ts'

export interface JobFilter {
  ownerId?: UserId
  /** Neither done, nor cancelled, nor failed. */
  open?: boolean
}

/** Who works on a job: nobody else does before `untilMs`. */
export interface Lease {
  node: string
  nowMs: number
  untilMs: number
}

/** What the domain needs saved about jobs. */
export interface JobStore {
  insert(job: Job): Promise<void>
  byId(id: JobId): Promise<Job | undefined>
  /** Newest first; `size` rows at most. */
  list(filter: JobFilter, from: Position | undefined, size: number): Promise<Job[]>
  countOpen(ownerId: UserId): Promise<number>
  /** The open job that has waited longest for its turn, among those that `lease` could take. */
  next(lease: Lease): Promise<JobId | undefined>
  /** Takes an open job, or keeps it, until the transaction ends; undefined: another node has it. */
  take(id: JobId, lease: Lease): Promise<Job | undefined>
  /** Saves all of a job that changes. */
  update(job: Job): Promise<void>
  /** Adds tokens to those that the job has yet to reach, from this position on. */
  pick(id: JobId, position: number, tokens: readonly TokenId[]): Promise<void>
  /** The tokens from this position on, `size` at most. */
  picked(id: JobId, position: number, size: number): Promise<TokenId[]>
  /** Forgets the tokens before this position. */
  forget(id: JobId, position: number): Promise<void>
  /** Forgets at most `limit` tokens of jobs that are over. Returns how many. */
  sweep(limit: number): Promise<number>
  /** Deletes at most `limit` jobs that were over before, and have no tokens left. Returns how many. */
  purge(finishedBeforeMs: number, limit: number): Promise<number>
}
