import { existsSync, readFileSync } from 'node:fs'
import type { App } from '../app.ts'
import { readConfig } from '../config.ts'
import { CliError } from './failure.ts'
import type { Terminal } from './terminal.ts'

/**
 * Opens this machine's database for a command that works without a server. Refused while a server
 * runs, because the store belongs to one process.
 */
export async function withCore<T>(
  { env }: Terminal,
  work: (core: App['core']) => Promise<T>,
): Promise<T> {
  process.umask(0o077)
  const config = readConfig({ env, readFile: (path) => readFileSync(path, 'utf8') })
  if (!existsSync(config.databaseFile)) {
    throw new CliError(
      'not_found',
      `There is no database at ${config.databaseFile}. Run this where the server runs, with the server's settings.`,
    )
  }
  // Loaded here, because the whole server is behind it and other commands start without.
  const [{ openCore }, { masterKeyOf }] = await Promise.all([
    import('../app.ts'),
    import('../installation.ts'),
  ])
  const { core, store } = await openCore(config, { masterKey: masterKeyOf(config).key })
  try {
    return await work(core)
  } finally {
    await store.close()
  }
}
