import type { Kysely } from 'kysely'
import type { Schema } from './schema.ts'

/** The next integer identifier of a kind of thing, starting at 1 and never given out twice. */
export async function nextSerial(
  db: Kysely<Schema>,
  name: 'user' | 'group' | 'token' | 'client',
): Promise<number> {
  const { value } = await db
    .insertInto('counter')
    .values({ name, value: 1 })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({ value: eb('counter.value', '+', 1) })),
    )
    .returning('value')
    .executeTakeFirstOrThrow()
  return value
}
