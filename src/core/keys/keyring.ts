import { type CheckpointKeys, checkpointKeys } from '../audit/checkpoint.ts'
import type { Clock } from '../clock.ts'
import { CoreError } from '../errors.ts'
import type { NewId } from '../id.ts'
import type { Random } from '../random.ts'
import { deriveKey } from '../seal.ts'
import { type Pepper, pepper, type Secret } from '../secret.ts'
import type { Store } from '../store.ts'
import { makeMissing } from './make-missing.ts'
import {
  algorithmOf,
  inOrder,
  isOver,
  type KeyName,
  LASTING,
  type LastingKey,
  type LastingPurpose,
} from './purposes.ts'
import { keySealer } from './sealing.ts'
import { makeSigningKey, type SigningKey, signingKey } from './signing-key.ts'
import type { KeyPurpose, SealedKey } from './store.ts'

type DerivedPurpose =
  | 'csrf'
  | 'dpop-nonce'
  | 'engine-cookie'
  | 'audit'
  | 'checkpoint'
  | 'cursor'
  | 'idempotency'
  | 'import'
  | 'cookie'
  | 'lockout'
  | 'oauth'
  | 'oauth-record'
  | 'subject'
  | 'refresh-grace'
  | 'webhook'

/**
 * The server's keys, opened with the master key. What lies in the database is useless without it,
 * and the master key is never in the database.
 */
export interface Keyring {
  /** Digests new secrets. */
  pepper(): Pepper
  /** Current first, then those being retired; a secret is looked up under each. */
  peppers(): readonly Pepper[]
  /** A 256-bit key for one purpose, derived from the root key: it outlives every rotation. */
  derived(purpose: DerivedPurpose): Buffer
  /** Ed25519 keys that sign audit checkpoints. */
  checkpointKeys(): CheckpointKeys
  /** RS256 keys of S7 access tokens: current first, retired ones verify until their overlap ends. */
  s7Keys(): readonly SigningKey[]
  /** Keys of the OpenID provider: the current one of each algorithm, then retired ones still published. */
  oauthKeys(): readonly SigningKey[]
  /** ES256 keys of signed tokens and of the revocation feed: current first, then retired ones. */
  jwtKeys(): readonly SigningKey[]
  /** A new key, sealed and not saved. Slow: never inside a transaction. */
  make(purpose: LastingPurpose): Promise<SealedKey>
  /** Whether our master key opens a key. */
  opens(key: SealedKey): boolean
  /** Seals a short-lived key under the master key and saves it. */
  saveKey(purpose: 'xms-login', id: string, pem: string): Promise<void>
  openKey(
    purpose: 'xms-login',
    id: string,
  ): Promise<{ pem: string; createdAtMs: number } | undefined>
  /** Takes over what the store has now. Happens by itself whenever a change of keys is announced. */
  reload(): Promise<void>
  /** Rises with each reload, so that whoever holds keys knows when to fetch them anew. */
  version(): number
}

interface Opened {
  root: Buffer
  peppers: readonly Pepper[]
  s7: readonly Published[]
  oauth: readonly Published[]
  jwt: readonly Published[]
}

interface Published {
  row: LastingKey
  key: SigningKey
}

/**
 * Opens the keys in `store`, or makes them when the database is new.
 * Throws `not_configured` when the master key does not fit: keys are never silently replaced.
 */
export async function openKeyring(deps: {
  store: Store
  masterKey: Secret
  clock: Clock
  random: Random
  newId: NewId
}): Promise<Keyring> {
  const { store, random, clock, newId } = deps
  const sealer = keySealer(deps.masterKey, random)

  const sealedKey = (purpose: KeyPurpose, id: string, plain: Buffer | string): SealedKey => ({
    id,
    purpose,
    sealed: sealer.seal({ purpose, id }, plain),
    createdAtMs: clock.now(),
    retiredAtMs: undefined,
  })

  async function make(purpose: LastingPurpose): Promise<SealedKey> {
    if (purpose === 'root' || purpose === 'pepper') return sealedKey(purpose, newId(), random(32))
    const { id, pem } = await makeSigningKey(algorithmOf(purpose))
    return sealedKey(purpose, id, pem)
  }

  async function load(): Promise<Opened> {
    const rows = inOrder(await store.keys.all())
    const of = (name: KeyName) => rows.filter(({ purpose }) => LASTING[purpose].name === name)
    const signing = (name: KeyName): Published[] =>
      of(name).map((row) => ({
        row,
        key: signingKey(row.id, algorithmOf(row.purpose), sealer.open(row)),
      }))
    const [root] = of('root')
    if (root === undefined) throw new CoreError('not_configured', 'The root key is missing.')
    return {
      root: sealer.open(root),
      peppers: of('pepper').map((row) => pepper(row.id, sealer.open(row))),
      s7: signing('s7'),
      oauth: signing('oauth'),
      jwt: signing('jwt'),
    }
  }

  let opened: Opened = { root: Buffer.alloc(0), peppers: [], s7: [], oauth: [], jwt: [] }
  let version = 0
  let loading: Promise<void> = Promise.resolve()

  /** One after the other, so that a slow load cannot put back what a later one has replaced. */
  function reload(): Promise<void> {
    const done = loading.then(async () => {
      opened = await load()
      version++
    })
    loading = done.catch(() => undefined)
    return done
  }

  // Listening comes first: a rotation elsewhere must not fall between the first load and it.
  const stop = store.onChange((changes) =>
    changes.some(({ subject }) => subject === 'key') ? reload() : undefined,
  )
  try {
    await makeMissing({ store, sealer, make })
    await reload()
  } catch (error) {
    stop()
    throw error
  }
  const derivedKeys = new Map<DerivedPurpose, Buffer>()

  function derived(purpose: DerivedPurpose): Buffer {
    const known = derivedKeys.get(purpose)
    if (known !== undefined) return known
    const key = deriveKey(opened.root, purpose)
    derivedKeys.set(purpose, key)
    return key
  }

  /** By the clock, too: a key is over on time even where nobody purges. */
  const published = (keys: readonly Published[]): SigningKey[] =>
    keys.filter(({ row }) => !isOver(row, clock.now())).map(({ key }) => key)

  return {
    pepper: () => first(opened.peppers, 'pepper'),
    peppers: () => opened.peppers,
    s7Keys: () => published(opened.s7),
    oauthKeys: () => published(opened.oauth),
    jwtKeys: () => published(opened.jwt),
    derived,
    checkpointKeys: () => checkpointKeys(derived('checkpoint')),
    make,
    opens: sealer.fits,
    async saveKey(purpose, id, pem) {
      await store.transaction((tx) => tx.keys.insert(sealedKey(purpose, id, pem)))
    },
    async openKey(purpose, id) {
      const row = await store.keys.byId(id)
      if (row === undefined || row.purpose !== purpose) return undefined
      return { pem: sealer.open(row).toString(), createdAtMs: row.createdAtMs }
    },
    reload,
    version: () => version,
  }
}

function first<T>(list: readonly T[], what: string): T {
  const [item] = list
  if (item === undefined) throw new CoreError('not_configured', `There is no ${what} key.`)
  return item
}
