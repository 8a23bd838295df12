import type { Migration } from 'kysely/migration'
import { up as init } from './0001-init.ts'

/** In order, append-only: a migration that has been released is never edited. */
export const migrations: Record<string, Migration> = {
  '0001-init': { up: init },
}
