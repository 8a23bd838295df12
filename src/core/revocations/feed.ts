import { createHash } from 'node:crypto'
import type { Deps } from '../deps.ts'
import { MAX_SIGNED_SECONDS } from '../tokens/sign.ts'
import type { LogPlace, SignedEnd } from './store.ts'

/** What ended, since when, and how far this is true. */
export interface Revocations {
  /** When the log was read. */
  asOfMs: number
  /** Where the next statement begins. */
  next: string
  /** Everything that matters, rather than what came after the cursor. */
  full: boolean
  /** By `nameOf` a token, user or group: what was signed before this change and names it is over. */
  ended: ReadonlyMap<string, number>
  /** Whatever was signed before this change is over; 0: nothing for that. */
  everything: number
}

/** The statement that a cursor asks for. */
export interface RevocationFeed {
  /**
   * Reads the log. Several who ask at once share one reading, so that any number of them cost the
   * database the same. Throws `unavailable`.
   */
  read(cursor: string | undefined): Promise<Revocations>
}

/** Longer than anything signed lives, and than the clocks of two nodes are apart. */
export const KEEP_SECONDS = MAX_SIGNED_SECONDS + 300
/** So many names are a statement of some 300 KB; beyond, it says that everything is over. */
const MAX_NAMES = 10_000
/** Rows that are read at once. */
const PAGE = 5000
/** For others to join a reading before it begins. */
const JOIN_MS = 20

/**
 * What stands for an id in the feed: enough to recognise an id that one knows, and nothing for whoever
 * does not know it.
 */
export function nameOf(id: string): string {
  return createHash('sha256')
    .update(`mintmark:${id}`)
    .digest()
    .subarray(0, 12)
    .toString('base64url')
}

interface Entry {
  sequence: number
  atMs: number
}

/** What is known as of one reading; never altered. */
interface Known {
  asOfMs: number
  end: LogPlace
  ended: ReadonlyMap<string, Entry>
  everything: Entry
  /** Made once for all who ask from the same place. */
  statements: Map<string | undefined, Promise<Revocations>>
}

const NOTHING: Entry = { sequence: 0, atMs: 0 }

/**
 * Follows the change log, whose numbers rise in the order of commits and have no gaps. Kept in memory
 * is only what was read from there; each statement is true as of a reading that began after it was
 * asked for.
 */
export function revocationFeed({ store, clock }: Pick<Deps, 'store' | 'clock'>): RevocationFeed {
  let latest: Known | undefined
  let joining: Promise<Known> | undefined
  let reading: Promise<unknown> = Promise.resolve()

  async function catchUp(): Promise<Known> {
    const asOfMs = clock.now()
    const end = await store.revocations.end()
    const before = latest !== undefined && (await isSameLog(latest.end, end)) ? latest : undefined
    const fromMs = asOfMs - KEEP_SECONDS * 1000
    const news = await newsAfter(before?.end.sequence ?? 0, end.sequence, fromMs)
    latest = {
      asOfMs,
      end,
      statements: new Map(),
      ...merged(before ?? { ended: new Map(), everything: NOTHING }, news, fromMs),
    }
    return latest
  }

  async function newsAfter(start: number, to: number, fromMs: number): Promise<SignedEnd[]> {
    const news: SignedEnd[] = []
    for (let after = start; after < to; ) {
      const rows = await store.revocations.between({ after, to, fromMs, limit: PAGE })
      news.push(...rows)
      after = rows.length < PAGE ? to : (rows.at(-1)?.sequence ?? to)
    }
    return news
  }

  /** A database that was put back to an earlier state goes on with the same numbers for other changes. */
  async function isSameLog(known: LogPlace, now: LogPlace): Promise<boolean> {
    if (known.sequence > now.sequence) return false
    if (known.sequence === now.sequence) return now.row === undefined || now.row === known.row
    return (await store.revocations.at(known.sequence)).row === known.row
  }

  function caughtUp(): Promise<Known> {
    joining ??= new Promise<void>((resolve) => setTimeout(resolve, JOIN_MS)).then(() => {
      joining = undefined
      // One at a time, so that none overtakes another.
      const mine = reading.then(catchUp)
      reading = mine.catch(() => undefined)
      return mine
    })
    return joining
  }

  /** Whether all that came after a cursor is still known. */
  async function isReachable(since: Cursor, end: LogPlace): Promise<boolean> {
    if (since.sequence > end.sequence) return false
    if (since.sequence < end.sequence) {
      const place = await store.revocations.at(since.sequence)
      return place.row !== undefined && tagOf(place) === since.tag
    }
    // Without a row nothing has happened for so long that the last change is pruned.
    return tagOf(end) === since.tag
  }

  async function statement(known: Known, cursor: string | undefined): Promise<Revocations> {
    const { asOfMs, end, ended, everything } = known
    const since = cursor === undefined ? undefined : cursorFrom(cursor)
    const isKnown = since !== undefined && (await isReachable(since, end))
    const after = isKnown ? since.sequence : -1
    const news = [...ended].filter(([, { sequence }]) => sequence > after)
    return {
      asOfMs,
      next: cursorOf(end),
      full: !isKnown,
      ended: new Map(news.map(([name, { sequence }]) => [name, sequence])),
      everything: everything.sequence > after ? everything.sequence : 0,
    }
  }

  return {
    async read(cursor) {
      const known = await caughtUp()
      const made = known.statements.get(cursor) ?? statement(known, cursor)
      known.statements.set(cursor, made)
      return made
    },
  }
}

function merged(
  before: Pick<Known, 'ended' | 'everything'>,
  news: readonly SignedEnd[],
  fromMs: number,
): Pick<Known, 'ended' | 'everything'> {
  const ended = new Map([...before.ended].filter(([, { atMs }]) => atMs >= fromMs))
  let everything = before.everything.atMs < fromMs ? NOTHING : before.everything
  for (const { sequence, subject, subjectId, atMs } of news) {
    // What touches any number of tokens, or nobody here can tell which.
    const isOfOne = subject === 'token' || subject === 'user' || subject === 'group'
    if (isOfOne) ended.set(nameOf(subjectId), { sequence, atMs })
    else everything = { sequence, atMs }
    if (ended.size <= MAX_NAMES) continue
    everything = { sequence, atMs }
    ended.clear()
  }
  return { ended, everything }
}

interface Cursor {
  sequence: number
  /** Of what stands there, because another history may have the same numbers. */
  tag: string
}

const NO_TAG = '0'

function tagOf({ sequence, row }: LogPlace): string {
  if (row === undefined) return NO_TAG
  return createHash('sha256').update(`${sequence} ${row}`).digest('base64url').slice(0, 12)
}

function cursorOf(place: LogPlace): string {
  return `${place.sequence}.${tagOf(place)}`
}

function cursorFrom(cursor: string): Cursor | undefined {
  const [, sequence, tag] = /^(\d{1,15})\.([\w-]{1,12})$/.exec(cursor) ?? []
  return sequence === undefined || tag === undefined
    ? undefined
    : { sequence: Number(sequence), tag }
}
