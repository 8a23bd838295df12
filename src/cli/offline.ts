import { existsSync, readFileSync } from 'node:fs'
import type { App } from '../app.ts'
import { type Config, readConfig } from '../config.ts'
import { CliError } from './failure.ts'
import type { Terminal } from './terminal.ts'

/**
 * Opens the database for a command that works without a server. A SQLite file is refused while a
 * server runs, because it belongs to one process; on PostgreSQL the servers hear of the change.
 */
export async function withCore<T>(
  terminal: Terminal,
  work: (core: App['core']) => Promise<T>,
): Promise<T> {
  const { config, app, installation } = await prepared(terminal)
  const { key } = installation.masterKeyOf(config)
  const { core, store } = await app.openCore(config, { masterKey: key })
  try {
    return await work(core)
  } finally {
    await store.close()
  }
}

export interface Rewrapped {
  /** How many keys were sealed anew; 0: they were before, by a run that could not say so. */
  keys: number
  /** Holds the new master key; undefined: it is the given one. */
  keyFile: string | undefined
}

/** Gives the keys of this machine's database a new master key. A crash at any point leaves a pair that fits. */
export async function rewrap(terminal: Terminal): Promise<Rewrapped> {
  const { config, app } = await prepared(terminal)
  const { adoptNextKey, masterKeyOf, nextMasterKey } = await import('../installation.ts')
  const { newMasterKey } = config
  if (newMasterKey !== undefined && (await app.opensDatabase(config, newMasterKey))) {
    return { keys: 0, keyFile: undefined }
  }
  const { key: masterKey } = masterKeyOf(config)
  const { core, store } = await app.openCore(config, { masterKey })
  try {
    const { key, file } = nextMasterKey(config)
    const keys = await core.rewrapKeys(key)
    if (file !== undefined) adoptNextKey(config)
    return { keys, keyFile: file }
  } finally {
    await store.close()
  }
}

async function prepared({ env }: Terminal) {
  process.umask(0o077)
  const config: Config = readConfig({ env, readFile: (path) => readFileSync(path, 'utf8') })
  const { database } = config
  if (database.kind === 'sqlite' && !existsSync(database.file)) {
    throw new CliError(
      'not_found',
      `There is no database at ${database.file}. Run this where the server runs, with the server's settings.`,
    )
  }
  // Loaded here, because the whole server is behind it and other commands start without.
  const [app, installation] = await Promise.all([import('../app.ts'), import('../installation.ts')])
  await installation.settleKeyFile(config, (key) => app.opensDatabase(config, key))
  return { config, app, installation }
}
