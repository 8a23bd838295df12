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

export interface AuditStore {
  /** The end of the chain; inside a transaction nobody else can append meanwhile. */
  last(): Promise<{ sequence: number; hash: string } | undefined>
  append(record: AuditRecord): Promise<void>
  /** Newest first; `size + 1` rows at most. */
  list(filter: AuditFilter, from: Position | undefined, size: number): Promise<AuditRecord[]>
  addCheckpoint(checkpoint: Checkpoint): Promise<void>
  lastCheckpoint(): Promise<Checkpoint | undefined>
  /** In order of sequence. */
  checkpoints(): Promise<Checkpoint[]>
  /** In order of sequence, for verification. */
  after(sequence: number, limit: number): Promise<AuditRecord[]>
}
