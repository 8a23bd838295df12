import { createHash } from 'node:crypto'
import type { EndingRecord, Endings } from './audit/endings.ts'
import { CoreError } from './errors.ts'

/** What both databases hold: text, safe integers and fractions, and nothing. */
export type Value = string | number | null
/** In the order of the table's columns. */
export type Row = readonly Value[]

export interface TableShape {
  name: string
  /** By name; computed ones are left out. */
  columns: readonly string[]
  /** Primary key, by which the rows are ordered. */
  key: readonly string[]
}

/** How much of a table there is, and what: equal digests mean equal rows. */
export interface TableFacts {
  name: string
  rows: number
  /** SHA-256 over the rows in the order of their key, base64url. */
  digest: string
}

/** Where the audit trail ends. */
export interface TrailEnd {
  sequence: number
  hash: string
}

/** All rows of an installation as of one moment, whichever database they come from. */
export interface Contents {
  tables: readonly TableShape[]
  /** Names of the migrations that made the tables, in order. */
  migrations: readonly string[]
  /** Number of the last change of the change log. */
  lastChange: number
  trailEnd: TrailEnd | undefined
  /** How many rows there are, for a progress bar; undefined: not known before the end. */
  totalRows: number | undefined
  /** Batches of rows by key. Tables are asked for one after the other, in their order. */
  rows(table: TableShape): AsyncIterable<readonly Row[]>
}

export interface Source extends Contents {
  close(): Promise<void>
}

/** An empty place for an installation. Nothing is in it before `finish` has resolved. */
export interface Target {
  tables: readonly TableShape[]
  load(table: TableShape, batches: AsyncIterable<readonly Row[]>): Promise<void>
  /** The rows as they have arrived. */
  rows(table: TableShape): AsyncIterable<readonly Row[]>
  /** Puts indexes, keys and numbers in order. */
  settle(lastChange: number): Promise<void>
  /** Ends again what had ended. Returns how many of each kind there were. */
  end(endings: Endings, atMs: number): Promise<Record<string, number>>
  /** Makes everything durable and visible in one step. */
  finish(): Promise<void>
  /** Leaves nothing behind. Does nothing after `finish`. */
  abandon(): Promise<void>
}

export interface TransferProgress {
  table: string
  rows: number
  totalRows: number | undefined
}

/** Counts and digests rows on their way. */
function factsOf(table: TableShape) {
  const hash = createHash('sha256').update(JSON.stringify([table.name, table.columns]))
  let rows = 0
  return {
    add(batch: readonly Row[]): void {
      rows += batch.length
      for (const row of batch) hash.update(JSON.stringify(row)).update('\n')
    },
    done: (): TableFacts => ({ name: table.name, rows, digest: hash.digest('base64url') }),
  }
}

/** Reads every table through. Returns what was in it. */
export async function readThrough(
  contents: Contents,
  take: (table: TableShape, batches: AsyncIterable<readonly Row[]>) => Promise<void>,
  onProgress: (progress: TransferProgress) => void = () => {},
): Promise<TableFacts[]> {
  const all: TableFacts[] = []
  let rows = 0
  for (const table of contents.tables) {
    const facts = factsOf(table)
    async function* counted() {
      for await (const batch of contents.rows(table)) {
        facts.add(batch)
        rows += batch.length
        onProgress({ table: table.name, rows, totalRows: contents.totalRows })
        yield batch
      }
    }
    await take(table, counted())
    all.push(facts.done())
  }
  return all
}

/** Fills a target and reads it back. Throws unless what arrived is what was sent, to the byte. */
export async function fill(
  target: Target,
  contents: Contents,
  onProgress?: (progress: TransferProgress) => void,
): Promise<TableFacts[]> {
  const sent = await readThrough(
    contents,
    (table, batches) => target.load(table, batches),
    onProgress,
  )
  await target.settle(contents.lastChange)
  for (const [i, table] of target.tables.entries()) {
    const facts = factsOf(table)
    for await (const batch of target.rows(table)) facts.add(batch)
    const arrived = facts.done()
    const expected = sent[i]
    if (expected?.rows === arrived.rows && expected.digest === arrived.digest) continue
    throw new CoreError(
      'unavailable',
      `The table ${table.name} did not arrive as it was sent: ${expected?.rows} rows, then ${arrived.rows}. Nothing was put in place.`,
    )
  }
  return sent
}

/** The rows of one table, by column. */
export async function* recordsOfTable(
  contents: Contents,
  name: string,
): AsyncGenerator<Record<string, Value>> {
  const table = contents.tables.find((each) => each.name === name)
  if (table === undefined) return
  for await (const batch of contents.rows(table)) {
    for (const row of batch) {
      yield Object.fromEntries(table.columns.map((column, i) => [column, row[i] ?? null]))
    }
  }
}

/** The audit records of an installation from a number on. */
export async function* trailOf(
  source: Source,
  fromSequence: number,
): AsyncGenerator<EndingRecord & { hash: string }> {
  for await (const row of recordsOfTable(source, 'audit')) {
    if (Number(row.sequence) < fromSequence) continue
    yield {
      sequence: Number(row.sequence),
      action: String(row.action),
      subjectType: String(row.subject_type) as EndingRecord['subjectType'],
      subjectId: String(row.subject_id),
      before: parsed(row.before),
      after: parsed(row.after),
      hash: String(row.hash),
    }
  }
}

function parsed(json: Value | undefined): Record<string, unknown> | undefined {
  return typeof json === 'string' ? (JSON.parse(json) as Record<string, unknown>) : undefined
}
