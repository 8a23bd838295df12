import type { KeyObject } from 'node:crypto'
import { type Checkpoint, isSignedBy } from './checkpoint.ts'
import type { AuditRecord } from './event.ts'
import { CHAIN_START, chainHash } from './record.ts'

export type ChainVerdict =
  | { intact: true; records: number; lastHash: string; checkpoints: number }
  | { intact: false; firstBadSequence: number; problem: string }

export interface ChainProof {
  /** Records after a sequence, in order. */
  after: (sequence: number, limit: number) => Promise<AuditRecord[]>
  /** Of the chain. */
  key: Buffer
  /** Signed earlier; those kept elsewhere show that the end was not cut off. */
  checkpoints: readonly Checkpoint[]
  publicKey: KeyObject
  onProgress?: ((records: number) => void) | undefined
}

const BATCH = 1000

/**
 * Recomputes the whole chain, in batches, holds it against every checkpoint, and names the first
 * record that does not fit.
 */
export async function verifyChain(proof: ChainProof): Promise<ChainVerdict> {
  const forged = proof.checkpoints.find((each) => !isSignedBy(each, proof.publicKey))
  if (forged !== undefined) {
    return broken(forged.sequence, 'A checkpoint is not signed by this server.')
  }
  // All of one sequence: two that differ show that the end was cut off and grew again.
  const promised = Map.groupBy(proof.checkpoints, ({ sequence }) => sequence)
  let last = { sequence: 0, hash: CHAIN_START }
  // Below the first record too: the log has no place for anything there.
  let from = Number.MIN_SAFE_INTEGER
  for (;;) {
    const batch = await proof.after(from, BATCH)
    if (batch.length === 0) break
    for (const record of batch) {
      const problem = whyBad(record, { last, key: proof.key, promised })
      if (problem !== undefined) return problem
      last = { sequence: record.sequence, hash: record.hash }
      from = record.sequence
    }
    proof.onProgress?.(last.sequence)
  }
  const beyond = proof.checkpoints.find(({ sequence }) => sequence > last.sequence)
  if (beyond !== undefined) {
    return broken(last.sequence + 1, `Records up to ${beyond.sequence} were cut off the end.`)
  }
  return {
    intact: true,
    records: last.sequence,
    lastHash: last.hash,
    checkpoints: promised.size,
  }
}

function whyBad(
  record: AuditRecord,
  {
    last,
    key,
    promised,
  }: {
    last: { sequence: number; hash: string }
    key: Buffer
    promised: ReadonlyMap<number, readonly Checkpoint[]>
  },
): ChainVerdict | undefined {
  const { hash, ...fields } = record
  const next = last.sequence + 1
  if (record.sequence < next) return broken(record.sequence, 'A record was inserted.')
  if (record.sequence > next) return broken(next, 'A record is missing.')
  if (chainHash(key, last.hash, fields) !== hash) return broken(next, 'A record was altered.')
  if (promised.get(next)?.some((checkpoint) => checkpoint.hash !== hash)) {
    return broken(next, 'The chain was replaced: a checkpoint knows this record otherwise.')
  }
  return undefined
}

function broken(firstBadSequence: number, problem: string): ChainVerdict {
  return { intact: false, firstBadSequence, problem }
}
