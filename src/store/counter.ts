import type { Kysely } from 'kysely'
import type { Schema } from './schema.ts'

/** The next integer identifier of a kind of thing, starting at 1 and never given out twice. */
export function nextSerial(
  db: Kysely<Schema>,
  name: 'user' | 'group' | 'token' | 'client',
): Promise<number> {
  return nextNumbers(db, name, 1)
}

/** Takes the next `count` numbers; returns the last of them. Nobody else gets any until we commit. */
export async function nextNumbers(
  db: Kysely<Schema>,
  name: 'user' | 'group' | 'token' | 'client' | 'change',
  count: number,
): Promise<number> {
  const { value } = await takeNumbers(db, name, count).executeTakeFirstOrThrow()
  return value
}

/** The statement that does so, for others to have it in theirs. */
export function takeNumbers(
  db: Pick<Kysely<Schema>, 'insertInto'>,
  name: 'user' | 'group' | 'token' | 'client' | 'change',
  count: number,
) {
  return db
    .insertInto('counter')
    .values({ name, value: count })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({ value: eb('counter.value', '+', count) })),
    )
    .returning('value')
}
