import type { AuditRecord } from '../core/audit/event.ts'
import type { ChainEnd, SealRecord } from '../core/audit/store.ts'
import type { EventDraft } from '../core/events/event.ts'
import type { Change } from '../core/store.ts'

/**
 * What a transaction has to tell: its audit records and its changes. They are collected and written
 * as its last step, because both stand in one order for the whole installation: whoever writes them
 * keeps all others from committing, so it should be for the shortest time.
 */
/** An audit record, with the event that tells others of it, if any. */
export interface Entry {
  seal: SealRecord
  event: EventDraft | undefined
}

export interface Journal {
  records: Entry[]
  changes: (Change & { atMs: number })[]
}

export function emptyJournal(): Journal {
  return { records: [], changes: [] }
}

export function isEmpty({ records, changes }: Journal): boolean {
  return records.length === 0 && changes.length === 0
}

/** The records in their order, each sealed into the chain that ends with `last`. */
export function sealed(records: readonly Entry[], last: ChainEnd | undefined): AuditRecord[] {
  let end = last
  return records.map(({ seal }) => {
    const record = seal(end)
    end = record
    return record
  })
}

/** The events among the entries, each with the number of its record. */
export function numberedEvents(
  entries: readonly Entry[],
  records: readonly AuditRecord[],
): (EventDraft & { id: number })[] {
  return entries.flatMap(({ event }, i) => {
    const id = records[i]?.sequence
    return event === undefined || id === undefined ? [] : [{ ...event, id }]
  })
}
