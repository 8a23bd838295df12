import type { Kysely } from 'kysely'
import type { Schema } from './schema.ts'

type Counted = 'user' | 'group' | 'token' | 'client'

/** The next integer identifier of a kind of thing, starting at 1 and never given out twice. */
export async function nextSerial(db: Kysely<Schema>, name: Counted): Promise<number> {
  const { value } = await takeSerial(db, name).executeTakeFirstOrThrow()
  return value
}

/** The statement that does so, for others to have it in theirs. Nobody else gets one until we commit. */
export function takeSerial(db: Pick<Kysely<Schema>, 'insertInto'>, name: Counted) {
  return db
    .insertInto('counter')
    .values({ name, value: 1 })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({ value: eb('counter.value', '+', 1) })),
    )
    .returning('value')
}
