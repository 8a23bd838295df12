import { CoreError } from '../core/errors.ts'
import { isPostgresUniqueViolation } from './postgres.ts'
import { isSqliteUniqueViolation } from './sqlite.ts'

/** Runs a statement that may hit a unique index on names. Throws `name_taken` with `message` then. */
export async function orNameTaken<T>(statement: Promise<T>, message: string): Promise<T> {
  try {
    return await statement
  } catch (error) {
    if (!isSqliteUniqueViolation(error) && !isPostgresUniqueViolation(error)) throw error
    throw new CoreError('name_taken', message, { cause: error })
  }
}
