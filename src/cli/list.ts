import type { Page, PageQuery } from '@mintmark/sdk'
import type { Command } from 'commander'
import { answer, type JsonOption, tableOr } from './output.ts'
import type { Column } from './table.ts'
import { note, type Terminal } from './terminal.ts'
import { pageSize } from './values.ts'

export interface ListOptions extends JsonOption {
  limit?: number
  cursor?: string
  all?: boolean
}

const LARGEST_PAGE = 1000

/** The options of every list that has pages. */
export function paged(command: Command): Command {
  return command
    .option('--limit <n>', 'rows per page, 1 to 1000 (default: 100)', pageSize)
    .option('--cursor <cursor>', 'the page after the one that ended with this cursor')
    .option('--all', 'every page')
}

export interface Listing<T> {
  /** Fetches one page. */
  list: (page: PageQuery) => Promise<Page<T>>
  columns: readonly Column<T>[]
  /** What to say when there is nothing. */
  empty: string
}

/** Prints one page of a list, or all of them. */
export async function printList<T>(
  terminal: Terminal,
  options: ListOptions,
  { list, columns, empty }: Listing<T>,
): Promise<void> {
  const page = options.all === true ? await everyPage(list, options) : await list(pageOf(options))
  const { items: rows, nextCursor } = page
  answer(terminal, {
    ...options,
    document: page,
    text: () => tableOr(terminal, { rows, columns, empty }),
  })
  if (nextCursor !== null && options.json !== true) {
    note(terminal, `There are more: add --all, or --cursor ${nextCursor}`)
  }
}

function pageOf({ limit, cursor }: ListOptions): PageQuery {
  return {
    ...(limit === undefined ? {} : { limit }),
    ...(cursor === undefined ? {} : { cursor }),
  }
}

async function everyPage<T>(list: Listing<T>['list'], options: ListOptions): Promise<Page<T>> {
  const limit = options.limit ?? LARGEST_PAGE
  const page = await list({ ...pageOf(options), limit })
  const items = [...page.items]
  let cursor = page.nextCursor
  while (cursor !== null) {
    const next = await list({ limit, cursor })
    items.push(...next.items)
    cursor = next.nextCursor
  }
  return { items, nextCursor: null, previousCursor: page.previousCursor }
}
