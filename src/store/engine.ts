import type { Kysely } from 'kysely'
import type { NodeRegistry } from '../core/nodes/registry.ts'
import type { Change } from '../core/store.ts'
import type { Journal } from './journal.ts'
import type { Locks } from './locks.ts'
import type { Schema } from './schema.ts'

/** A connection or a transaction: queries do not care. */
export type Db = Kysely<Schema>

/** Hands changes to the listeners of this node; resolves when they have taken effect. */
export type Announce = (changes: readonly Change[]) => Promise<void>

/** What differs between the databases. */
export interface Engine {
  /** Sees what is committed. */
  reader: Db
  /**
   * Runs `work` in one transaction that commits when it resolves. It may be run again from the start
   * when others were in the way, so it must change nothing but the database.
   */
  transaction<T>(work: (tx: Db) => Promise<T>): Promise<T>
  locks(tx: Db): Locks
  /** Writes what a transaction has to tell, as its last step. Returns the last change's number. */
  writeJournal(tx: Db, journal: Journal): Promise<number>
  changes: ChangeFeed
  nodes: NodeRegistry
  close(): Promise<void>
}

/** How committed changes reach the listeners of this node. */
export interface ChangeFeed {
  /** Begins to hand over what other nodes change. */
  start(announce: Announce): void
  /** Hands over what this node has just committed; `end` numbers the last of them. */
  own(changes: readonly Change[], end: number): Promise<void>
  /** The change up to which this node has taken everything in. */
  position(): number
  /** Whether answers may be given from memory; see core's `ChangeLog`. */
  isCurrent(): boolean
  catchUp(): Promise<void>
  close(): Promise<void>
}
