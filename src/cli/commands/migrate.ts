import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { type Config, readConfig } from '../../config.ts'
import { leaf } from '../command.ts'
import { CliError } from '../failure.ts'
import { answer, type JsonOption } from '../output.ts'
import { note, type Terminal } from '../terminal.ts'
import { seconds } from '../values.ts'

const PAUSE_MS = 500
/** How often it says that it still waits. */
const TELL_MS = 5000

export function migrateCommand(program: Command, terminal: Terminal): void {
  leaf(program, 'migrate', {
    summary: 'Bring the database to this release, and end',
    details:
      'Servers do that when they start, too; of many at once one does and the others wait. Run it before them where a start must be quick. On PostgreSQL the indexes of large tables are built while servers work, and stderr tells how far it is; that takes a connection without a pooler in between. With the settings of the server; a SQLite file only while the server is stopped.',
    examples: ['mintmark migrate', 'mintmark migrate --wait 60s'],
  })
    .option('--wait <time>', 'how long to wait for a database that cannot be reached yet', seconds)
    .action(async (options: JsonOption & { wait?: number }) => {
      const config = readConfig({
        env: terminal.env,
        readFile: (path) => readFileSync(path, 'utf8'),
      })
      mustBeThere(config)
      await migrated(config, { terminal, waitMs: (options.wait ?? 0) * 1000 })
      answer(terminal, {
        ...options,
        document: { migrated: true },
        text: () => 'The database is at this release.',
      })
    })
}

/** A server makes a file together with its key; one without the other would keep it from starting. */
function mustBeThere({ database }: Config): void {
  if (database.kind === 'postgres' || existsSync(database.file)) return
  throw new CliError(
    'not_found',
    `There is no database at ${database.file}. Run this with the server's settings; the first start of the server makes it.`,
  )
}

async function migrated(
  config: Config,
  { terminal, waitMs }: { terminal: Terminal; waitMs: number },
): Promise<void> {
  // Loaded here, because the whole server is behind it and other commands start without.
  const { migrateDatabase } = await import('../../app.ts')
  const untilMs = performance.now() + waitMs
  let tellAtMs = 0
  for (;;) {
    try {
      return await migrateDatabase(config, (news) => note(terminal, news))
    } catch (error) {
      const { code, message } = error as { code?: unknown; message?: unknown }
      const leftMs = untilMs - performance.now()
      if (code !== 'unavailable' || leftMs <= 0) throw error
      if (performance.now() >= tellAtMs) {
        note(terminal, `Waiting, ${Math.ceil(leftMs / 1000)} s at most. ${message}`)
        tellAtMs = performance.now() + TELL_MS
      }
      await sleep(Math.min(PAUSE_MS, leftMs))
    }
  }
}
