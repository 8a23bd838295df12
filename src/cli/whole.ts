import { existsSync, readFileSync } from 'node:fs'
import { type Config, readConfig } from '../config.ts'
import { createBar } from './bar.ts'
import { CliError } from './failure.ts'
import type { Terminal } from './terminal.ts'

/** What commands work with that are about a whole installation. */
export async function wholeInstallation({ env }: Terminal) {
  process.umask(0o077)
  const config: Config = readConfig({ env, readFile: (path) => readFileSync(path, 'utf8') })
  // Loaded here, because the whole server is behind it and other commands start without.
  const [{ places }, { prepareDirectories, presentMasterKey }] = await Promise.all([
    import('../app.ts'),
    import('../installation.ts'),
  ])
  return {
    config,
    places,
    prepareDirectories: (options?: { mayBeLost: boolean }) => prepareDirectories(config, options),
    masterKey: () => presentMasterKey(config),
  }
}

/** Throws unless there is a database to read. */
export function mustHaveDatabase({ database }: Config): void {
  if (database.kind === 'postgres' || existsSync(database.file)) return
  throw new CliError(
    'not_found',
    `There is no database at ${database.file}. Run this where the server runs, with the server's settings.`,
  )
}

/** How far rows have come, on one line for people who watch. */
export function rowProgress(terminal: Terminal) {
  const bar = createBar(terminal)
  return {
    show: ({
      table,
      rows,
      totalRows,
    }: {
      table: string
      rows: number
      totalRows?: number | undefined
    }) =>
      bar.show({
        share: totalRows === undefined ? undefined : rows / totalRows,
        text: `${rows} rows  ${table}`,
      }),
    clear: bar.clear,
  }
}
