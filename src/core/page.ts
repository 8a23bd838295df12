import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { CoreError } from './errors.ts'

/** Where a page of rows begins: the ordering value and id of the row just outside it. */
export interface Position {
  /** The ordering value: epoch milliseconds, a sequence number, or the key of a name. */
  at: number | string
  id: string
  /** `before` walks back towards the first page. */
  direction: 'after' | 'before'
}

export interface Page<T> {
  items: T[]
  /** Cursor of the following page; undefined on the last. */
  next: Position | undefined
  /** Cursor of the page before this one; undefined on the first. */
  previous: Position | undefined
}

export interface Cursors {
  encode(position: Position): string
  /** Throws `invalid_input` unless `text` was made here for the same list and context. */
  decode(text: string): Position
}

export interface ListCursors extends Cursors {
  /** Cursors for this context alone: who asked, and for what. Plain JSON. */
  within(context: unknown): Cursors
}

const TAG_BYTES = 16

/**
 * Opaque cursors that only we can make, so that nothing a caller invents reaches a query.
 * `list` binds them to one list: a cursor of one is refused by every other. `within` binds them to
 * the principal and the query as well, so that nobody continues where somebody else was.
 */
export function cursorsFor(key: Buffer, list: string): ListCursors {
  return { ...cursorsIn(key, list), within: (context) => cursorsIn(key, list, context) }
}

function cursorsIn(key: Buffer, list: string, context?: unknown): Cursors {
  const tagOf = (payload: Buffer) => {
    const hmac = createHmac('sha256', key).update(`${list}\n`)
    // A payload begins with a bracket, so that none can pass for the digest of a context.
    if (context !== undefined) hmac.update(`${digestOf(context)}\n`)
    return hmac.update(payload).digest().subarray(0, TAG_BYTES)
  }

  return {
    encode({ at, id, direction }) {
      const payload = Buffer.from(JSON.stringify([at, id, direction === 'before' ? 1 : 0]))
      return Buffer.concat([tagOf(payload), payload]).toString('base64url')
    },
    decode(text) {
      const bytes = Buffer.from(text, 'base64url')
      const payload = bytes.subarray(TAG_BYTES)
      const tag = bytes.subarray(0, TAG_BYTES)
      if (bytes.length <= TAG_BYTES || !timingSafeEqual(tag, tagOf(payload))) {
        throw new CoreError(
          'invalid_input',
          'The cursor is not one that this list gave out to you for this query. Start again without it.',
        )
      }
      const [at, id, before] = JSON.parse(payload.toString()) as [number | string, string, 0 | 1]
      return { at, id, direction: before === 1 ? 'before' : 'after' }
    },
  }
}

function digestOf(context: unknown): string {
  return createHash('sha256').update(JSON.stringify(context)).digest('base64url')
}

/** Cuts the surplus row that a query fetched to learn whether there is more. */
export function pageOf<T>(
  rows: T[],
  options: {
    size: number
    from: Position | undefined
    positionOf: (row: T) => [Position['at'], string]
  },
): Page<T> {
  const backwards = options.from?.direction === 'before'
  const more = rows.length > options.size
  const items = rows.slice(0, options.size)
  if (backwards) items.reverse()
  const edge = (row: T | undefined, direction: Position['direction']): Position | undefined => {
    if (row === undefined) return undefined
    const [at, id] = options.positionOf(row)
    return { at, id, direction }
  }
  const hasNext = backwards ? true : more
  const hasPrevious = backwards ? more : options.from !== undefined
  return {
    items,
    next: hasNext ? edge(items.at(-1), 'after') : undefined,
    previous: hasPrevious ? edge(items[0], 'before') : undefined,
  }
}
