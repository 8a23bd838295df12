import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Config } from './config.ts'
import { CoreError } from './core/errors.ts'
import { Secret } from './core/secret.ts'

const MIN_KEY_LENGTH = 32

/** Says that the database was there once, so that a lost one is not taken for a first start. */
const markerOf = ({ dataDir }: Config) => join(dataDir, 'installed')
const keyFileOf = ({ dataDir }: Config) => join(dataDir, 'master.key')
/** Holds the next master key while the keys are being sealed with it. */
const nextKeyFileOf = (config: Config) => `${keyFileOf(config)}.new`

/**
 * Makes the directories, for us alone. Throws `not_configured` when they cannot be made, and when the
 * database of an installation is gone, unless it `mayBeLost` because it is about to be restored:
 * Mintmark never starts empty over a loss.
 */
export function prepareDirectories(config: Config, { mayBeLost = false } = {}): void {
  makeDirectory(resolve(config.dataDir))
  if (config.database.kind === 'sqlite') makeDirectory(resolve(dirname(config.database.file)))
  chmodSync(config.dataDir, 0o700)
  if (config.database.kind !== 'sqlite') return
  const { file } = config.database
  if (!mayBeLost && existsSync(markerOf(config)) && !existsSync(file))
    throw lost(config, `${file} is gone`)
}

/**
 * The same for a database on a server, which is there but empty when it was lost. Call it before the
 * first admin is made. Throws `not_configured`.
 */
export function mustNotBeLost(config: Config, { isNew }: { isNew: boolean }): void {
  if (isNew && existsSync(markerOf(config))) throw lost(config, 'is empty')
}

function lost(config: Config, what: string): CoreError {
  return new CoreError(
    'not_configured',
    `The database ${what}. Restore it from a backup; to start anew without it, delete ${markerOf(config)}.`,
  )
}

/** Remembers that the first start was completed. */
export function markInstalled(config: Config): void {
  if (existsSync(markerOf(config))) return
  const text =
    'Mintmark has been set up here. Without this file a lost database would go unnoticed.\n'
  writeFileSync(markerOf(config), text, { mode: 0o600 })
}

/**
 * The master key that is there, for commands that must not make one. Throws `not_configured`.
 */
export function presentMasterKey(config: Config): Secret {
  const file = keyFileOf(config)
  if (config.masterKey !== undefined || existsSync(file)) return masterKeyOf(config).key
  throw new CoreError(
    'not_configured',
    `There is no master key: neither MINTMARK_MASTER_KEY nor the file ${file}. Put back the one that the server had.`,
  )
}

/**
 * The master key: from the configuration, or the key file, which the first start makes beside a SQLite
 * file. Nodes that share PostgreSQL share the key, so that none may make its own.
 */
export function masterKeyOf(config: Config): { key: Secret; madeFile: string | undefined } {
  if (config.masterKey !== undefined) return { key: config.masterKey, madeFile: undefined }
  const file = keyFileOf(config)
  if (existsSync(file)) {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new CoreError('not_configured', `${file} can be read by others. Run: chmod 600 ${file}`)
    }
    return { key: keyIn(file), madeFile: undefined }
  }
  if (config.database.kind === 'postgres') {
    throw new CoreError(
      'not_configured',
      `There is no master key. Make one for all nodes with \`openssl rand -base64 32\`, and give it to each as MINTMARK_MASTER_KEY, MINTMARK_MASTER_KEY_FILE, or the file ${file}.`,
    )
  }
  if (existsSync(config.database.file)) {
    throw new CoreError(
      'not_configured',
      `The database ${config.database.file} exists, but not its key file ${file}. Restore the file, or set MINTMARK_MASTER_KEY.`,
    )
  }
  return { key: writeKey(file), madeFile: file }
}

/**
 * The master key to change to: MINTMARK_NEW_MASTER_KEY, or a new one in a file beside the key file,
 * which `adoptNextKey` puts in its place. Throws `not_configured` when neither can be.
 */
export function nextMasterKey(config: Config): { key: Secret; file: string | undefined } {
  if (config.newMasterKey !== undefined) return { key: config.newMasterKey, file: undefined }
  if (config.masterKey !== undefined) {
    throw new CoreError(
      'not_configured',
      'The master key is given by MINTMARK_MASTER_KEY. Give the new one as MINTMARK_NEW_MASTER_KEY (or MINTMARK_NEW_MASTER_KEY_FILE).',
    )
  }
  const key = writeKey(nextKeyFileOf(config))
  // The name must be on disk before anything is sealed with what it holds.
  syncDirectory(config.dataDir)
  return { key, file: keyFileOf(config) }
}

/** Puts the next key file in the place of the present one, in one step. */
export function adoptNextKey(config: Config): void {
  renameSync(nextKeyFileOf(config), keyFileOf(config))
  syncDirectory(config.dataDir)
}

/**
 * Finishes a change of the key file that was cut short: of the two files the one stays that opens the
 * database. Does nothing without a next key file.
 */
export async function settleKeyFile(
  config: Config,
  opensDatabase: (key: Secret) => Promise<boolean>,
): Promise<void> {
  const [file, next] = [keyFileOf(config), nextKeyFileOf(config)]
  if (config.masterKey !== undefined || !existsSync(next) || !existsSync(file)) return
  if (await opensDatabase(new Secret(readFileSync(next, 'utf8').trim()))) adoptNextKey(config)
  else if (await opensDatabase(keyIn(file))) rmSync(next)
}

function writeKey(file: string): Secret {
  const key = randomBytes(32).toString('base64url')
  writeFileSync(file, `${key}\n`, { mode: 0o600, flag: 'wx', flush: true })
  return new Secret(key)
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/**
 * Makes a directory with its parents, for us alone. Not by `recursive: true`, which never returns where
 * nothing can be made, such as below /proc.
 */
function makeDirectory(path: string): void {
  if (existsSync(path)) return
  if (dirname(path) !== path) makeDirectory(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    throw new CoreError(
      'not_configured',
      `The directory ${path} cannot be made: ${(error as Error).message}. Make it, or set MINTMARK_DATA_DIR.`,
      { cause: error },
    )
  }
}

/** A start that was killed while it wrote the file leaves less than a key, which must never be used. */
function keyIn(file: string): Secret {
  const text = readFileSync(file, 'utf8').trim()
  if (text.length >= MIN_KEY_LENGTH) return new Secret(text)
  throw new CoreError(
    'not_configured',
    `${file} holds no key of at least ${MIN_KEY_LENGTH} characters. Restore it from a backup; if Mintmark was never used here, delete it.`,
  )
}
