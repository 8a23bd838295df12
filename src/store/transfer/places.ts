import { CoreError } from '../../core/errors.ts'
import type { Contents, Source, TableShape, Target } from '../../core/transfer.ts'
import type { Database } from '../database.ts'
import { isOfThisRelease } from './facts.ts'
import { openPostgresSource, openPostgresTarget } from './postgres-side.ts'
import { openSqliteSource, openSqliteTarget } from './sqlite-side.ts'

/** Opens an installation for reading as of one moment; `alone`: while no server is on it. */
export async function openSource(
  database: Database,
  { alone }: { alone: boolean },
): Promise<Source> {
  const source =
    database.kind === 'sqlite'
      ? openSqliteSource(database.file, { alone })
      : await openPostgresSource(database, { alone })
  if (isOfThisRelease(source.migrations)) return source
  await source.close()
  throw new CoreError(
    'not_configured',
    'The database is of a newer release of Mintmark. Use the command of that release.',
  )
}

/** Opens an empty place whose tables are as the contents' own. */
export async function openTarget(database: Database, contents: Contents): Promise<Target> {
  const upTo = contents.migrations.at(-1)
  if (!isOfThisRelease(contents.migrations)) {
    throw new CoreError(
      'not_configured',
      'What is to be restored is of a newer release of Mintmark. Use the command of that release.',
    )
  }
  const target =
    database.kind === 'sqlite'
      ? await openSqliteTarget(database.file, { upTo })
      : await openPostgresTarget(database, { upTo })
  if (sameShapes(target.tables, contents.tables)) return target
  await target.abandon()
  throw new CoreError(
    'not_configured',
    'The tables there are not those of the release that is to be put there. Name an empty database.',
  )
}

function sameShapes(a: readonly TableShape[], b: readonly TableShape[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
