import { createHmac, timingSafeEqual } from 'node:crypto'
import { CoreError } from './errors.ts'

/** Where a page of rows begins: the ordering value and id of the row just outside it. */
export interface Position {
  /** The ordering value: epoch milliseconds or a sequence number. */
  at: number
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
  /** Throws `invalid_input` unless `text` was made here for the same list. */
  decode(text: string): Position
}

const TAG_BYTES = 16

/**
 * Opaque cursors that only we can make, so that nothing a caller invents reaches a query.
 * `list` binds them to one list: a cursor of one is refused by every other.
 */
export function cursorsFor(key: Buffer, list: string): Cursors {
  const tagOf = (payload: Buffer) =>
    createHmac('sha256', key).update(`${list}\n`).update(payload).digest().subarray(0, TAG_BYTES)

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
          'The cursor is not one that this list gave out. Start again without it.',
        )
      }
      const [at, id, before] = JSON.parse(payload.toString()) as [number, string, 0 | 1]
      return { at, id, direction: before === 1 ? 'before' : 'after' }
    },
  }
}

/** Cuts the surplus row that a query fetched to learn whether there is more. */
export function pageOf<T>(
  rows: T[],
  options: { size: number; from: Position | undefined; positionOf: (row: T) => [number, string] },
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
