import type { AuditRecord } from '../core/audit/event.ts'
import type { ChainEnd, SealRecord } from '../core/audit/store.ts'
import type { Change } from '../core/store.ts'

/**
 * What a transaction has to tell: its audit records and its changes. They are collected and written
 * as its last step, because both stand in one order for the whole installation: whoever writes them
 * keeps all others from committing, so it should be for the shortest time.
 */
export interface Journal {
  records: SealRecord[]
  changes: (Change & { atMs: number })[]
}

export function emptyJournal(): Journal {
  return { records: [], changes: [] }
}

export function isEmpty({ records, changes }: Journal): boolean {
  return records.length === 0 && changes.length === 0
}

/** The records in their order, each sealed into the chain that ends with `last`. */
export function sealed(records: readonly SealRecord[], last: ChainEnd | undefined): AuditRecord[] {
  let end = last
  return records.map((seal) => {
    const record = seal(end)
    end = record
    return record
  })
}
