import { createHmac } from 'node:crypto'
import type { Caller, Origin } from '../caller.ts'
import type { Repositories } from '../store.ts'
import { type AuditEvent, type AuditRecord, canonicalBytes, type SealedFields } from './event.ts'

/** The hash before the first record. */
export const CHAIN_START = '0'.repeat(43)

/** HMAC-SHA-256 over a record and its predecessor's hash: who lacks the key cannot mend the chain. */
export function chainHash(key: Buffer, previous: string, record: SealedFields): string {
  return createHmac('sha256', key)
    .update(`${previous}\n${canonicalBytes(record)}`)
    .digest('base64url')
}

/** Who acted: a caller with rights, or the server itself (`{ origin }` alone). */
export type Actor = Caller | { origin: Origin; principal?: undefined }

export type Recorder = (tx: Repositories, actor: Actor, event: AuditEvent) => Promise<void>

/**
 * Writes an event in the same transaction as the change it tells of, sealed into the chain: when the
 * record cannot be written, the change does not happen.
 */
export function auditRecorder(options: { key: () => Buffer; now: () => number }): Recorder {
  return async (tx, actor, event) => {
    const last = await tx.audit.last()
    const fields: SealedFields = {
      ...event,
      sequence: (last?.sequence ?? 0) + 1,
      atMs: options.now(),
      actorId: actor.principal?.user.id,
      actorName: actor.principal?.user.username,
      actorTokenId: actor.principal?.token.id,
      ip: actor.origin.ip,
      requestId: actor.origin.requestId,
      via: actor.origin.via,
    }
    const hash = chainHash(options.key(), last?.hash ?? CHAIN_START, fields)
    await tx.audit.append({ ...fields, hash })
  }
}

export type ChainVerdict =
  | { intact: true; records: number; lastHash: string }
  | { intact: false; firstBadSequence: number; problem: string }

/** Recomputes the whole chain, in batches, and names the first record that does not fit. */
export async function verifyChain(
  after: (sequence: number, limit: number) => Promise<AuditRecord[]>,
  { key, onProgress }: { key: Buffer; onProgress?: (records: number) => void },
): Promise<ChainVerdict> {
  let previous = CHAIN_START
  let sequence = 0
  // Below the first record too: the log has no place for anything there.
  let from = Number.MIN_SAFE_INTEGER
  for (;;) {
    const batch = await after(from, 1000)
    if (batch.length === 0) return { intact: true, records: sequence, lastHash: previous }
    for (const record of batch) {
      if (record.sequence <= sequence) {
        return {
          intact: false,
          firstBadSequence: record.sequence,
          problem: 'A record was inserted.',
        }
      }
      if (record.sequence !== sequence + 1) {
        return { intact: false, firstBadSequence: sequence + 1, problem: 'A record is missing.' }
      }
      const { hash, ...fields } = record
      if (chainHash(key, previous, fields) !== hash) {
        return {
          intact: false,
          firstBadSequence: record.sequence,
          problem: 'A record was altered.',
        }
      }
      previous = hash
      sequence = record.sequence
      from = sequence
    }
    onProgress?.(sequence)
  }
}
