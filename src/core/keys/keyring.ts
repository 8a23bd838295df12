import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
} from 'node:crypto'
import { type CheckpointKeys, checkpointKeys } from '../audit/checkpoint.ts'
import type { Clock } from '../clock.ts'
import { CoreError } from '../errors.ts'
import type { NewId } from '../id.ts'
import type { Random } from '../random.ts'
import { deriveKey, seal, unseal } from '../seal.ts'
import { type Pepper, pepper, type Secret } from '../secret.ts'
import type { Store } from '../store.ts'
import type { KeyPurpose, SealedKey } from './store.ts'

export interface SigningKey {
  /** RFC 7638-like: digest of the public key. */
  id: string
  privateKey: KeyObject
  publicKey: KeyObject
}

type DerivedPurpose = 'audit' | 'checkpoint' | 'cursor' | 'idempotency' | 'cookie'

/**
 * The server's keys, opened with the master key. What lies in the database is useless without it,
 * and the master key is never in the database.
 */
export interface Keyring {
  /** Digests new secrets. */
  pepper(): Pepper
  /** Current first, then those being retired; a secret is looked up under each. */
  peppers(): readonly Pepper[]
  /** A 256-bit key for one purpose, derived from the root key. */
  derived(purpose: DerivedPurpose): Buffer
  /** Ed25519 keys that sign audit checkpoints. */
  checkpointKeys(): CheckpointKeys
  /** RS256 keys of S7 access tokens: current first, older ones only verify. */
  s7Keys(): readonly SigningKey[]
  /** Seals a short-lived key under the master key and saves it. */
  saveKey(purpose: 'xms-login', id: string, pem: string): Promise<void>
  openKey(
    purpose: 'xms-login',
    id: string,
  ): Promise<{ pem: string; createdAtMs: number } | undefined>
  reload(): Promise<void>
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
  const { store, random, clock } = deps
  const kek = deriveKey(Buffer.from(deps.masterKey.reveal()), 'kek')
  const contextOf = (purpose: KeyPurpose, id: string) => `${purpose}:${id}`

  const sealKey = (purpose: KeyPurpose, id: string, plain: Buffer | string): SealedKey => ({
    id,
    purpose,
    sealed: seal(plain, { key: kek, context: contextOf(purpose, id), random }),
    createdAtMs: clock.now(),
    retiredAtMs: undefined,
  })

  const open = (row: SealedKey): Buffer => {
    const plain = unseal(row.sealed, { key: kek, context: contextOf(row.purpose, row.id) })
    if (plain === undefined) {
      throw new CoreError(
        'not_configured',
        'The master key does not fit this database: its keys cannot be opened. Give the MINTMARK_MASTER_KEY (or the key file) that the database was made with.',
      )
    }
    return plain
  }

  async function makeMissing(): Promise<void> {
    const rows = await store.keys.all()
    const has = (purpose: KeyPurpose) => rows.some((row) => row.purpose === purpose)
    if (has('root') && has('pepper') && has('s7-jwt')) return
    if (rows.length > 0 || (await store.users.countAll()) > 0) {
      throw new CoreError(
        'not_configured',
        'Keys are missing from a database that is in use. Restore it from a backup; new keys would make every token in it useless.',
      )
    }
    const rsa = await generateRsa()
    const pem = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' })
    await store.transaction(async (tx) => {
      if ((await tx.keys.all()).length > 0) return
      await tx.keys.insert(sealKey('root', deps.newId(), random(32)))
      await tx.keys.insert(sealKey('pepper', deps.newId(), random(32)))
      await tx.keys.insert(sealKey('s7-jwt', keyId(rsa.publicKey), pem))
    })
  }

  let opened: { root: Buffer; peppers: Pepper[]; s7: SigningKey[] } = {
    root: Buffer.alloc(0),
    peppers: [],
    s7: [],
  }
  const derivedKeys = new Map<string, Buffer>()

  async function reload(): Promise<void> {
    const rows = (await store.keys.all()).sort(newestAndCurrentFirst)
    const of = (purpose: KeyPurpose) => rows.filter((row) => row.purpose === purpose)
    const root = of('root')[0]
    if (root === undefined) throw new CoreError('not_configured', 'The root key is missing.')
    opened = {
      root: open(root),
      peppers: of('pepper').map((row) => pepper(row.id, open(row))),
      s7: of('s7-jwt').map((row) => signingKey(row.id, open(row))),
    }
    derivedKeys.clear()
  }

  await makeMissing()
  await reload()

  function derived(purpose: DerivedPurpose): Buffer {
    const known = derivedKeys.get(purpose)
    if (known !== undefined) return known
    const key = deriveKey(opened.root, purpose)
    derivedKeys.set(purpose, key)
    return key
  }

  return {
    pepper: () => first(opened.peppers, 'pepper'),
    peppers: () => opened.peppers,
    s7Keys: () => opened.s7,
    derived,
    checkpointKeys: () => checkpointKeys(derived('checkpoint')),
    async saveKey(purpose, id, pem) {
      await store.transaction((tx) => tx.keys.insert(sealKey(purpose, id, pem)))
    },
    async openKey(purpose, id) {
      const row = await store.keys.byId(id)
      if (row === undefined || row.purpose !== purpose) return undefined
      return { pem: open(row).toString(), createdAtMs: row.createdAtMs }
    },
    reload,
  }
}

/** RSA-2048, made off the event loop. */
export function generateRsa(): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  return new Promise((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength: 2048 }, (error, publicKey, privateKey) => {
      if (error) reject(error)
      else resolve({ publicKey, privateKey })
    })
  })
}

function signingKey(id: string, pem: Buffer): SigningKey {
  const privateKey = createPrivateKey(pem)
  return { id, privateKey, publicKey: createPublicKey(privateKey) }
}

function keyId(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(der).digest('base64url').slice(0, 22)
}

function newestAndCurrentFirst(a: SealedKey, b: SealedKey): number {
  const retired = Number(a.retiredAtMs !== undefined) - Number(b.retiredAtMs !== undefined)
  return retired || b.createdAtMs - a.createdAtMs
}

function first<T>(list: readonly T[], what: string): T {
  const [item] = list
  if (item === undefined) throw new CoreError('not_configured', `There is no ${what} key.`)
  return item
}
