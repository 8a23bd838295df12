import type { EventDraft } from '../events/event.ts'
import type { UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { AuditAction, AuditRecord, AuditSubject } from './event.ts'

export interface AuditFilter {
  actorId?: UserId
  action?: AuditAction
  subjectType?: AuditSubject
  subjectId?: string
  fromMs?: number
  toMs?: number
}

/** The record that the next one is chained to. */
export type ChainEnd = Pick<AuditRecord, 'sequence' | 'hash'>

/** Makes the record that follows `last`; `undefined`: the first. */
export type SealRecord = (last: ChainEnd | undefined) => AuditRecord

export interface AuditStore {
  /** The end of the chain. */
  last(): Promise<ChainEnd | undefined>
  /**
   * Appends to the chain, as the last step of the transaction: `seal` is called when nobody else can
   * append any more. Only inside a transaction. `event`: what others are to hear of it, stored under
   * the record's number.
   */
  append(seal: SealRecord, event?: EventDraft): Promise<void>
  /** Newest first; `size + 1` rows at most. */
  list(filter: AuditFilter, from: Position | undefined, size: number): Promise<AuditRecord[]>
  /** Those in the span whose action is none of `except`, in order of sequence. */
  between(
    span: { after: number; upTo: number },
    except: readonly string[],
    limit: number,
  ): Promise<AuditRecord[]>
  addCheckpoint(checkpoint: Checkpoint): Promise<void>
  lastCheckpoint(): Promise<Checkpoint | undefined>
  /** In order of sequence. */
  checkpoints(): Promise<Checkpoint[]>
  /** In order of sequence, for verification. */
  after(sequence: number, limit: number): Promise<AuditRecord[]>
}
