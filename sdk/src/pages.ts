import type { Page, PageQuery } from './types.ts'

/** Walks a list from page to page. Rows made meanwhile shift nothing: a cursor is a place. */
export async function* everyItem<T, Q extends PageQuery>(
  list: (query: Q) => Promise<Page<T>>,
  query: Q,
): AsyncGenerator<T, void, undefined> {
  let cursor: string | null | undefined = query.cursor
  do {
    const page = await list(cursor === undefined ? query : { ...query, cursor })
    yield* page.items
    cursor = page.nextCursor
  } while (cursor !== null)
}
