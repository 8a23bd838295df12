import { CoreError } from '../errors.ts'
import type { Random } from '../random.ts'
import { deriveKey, seal, unseal } from '../seal.ts'
import type { Secret } from '../secret.ts'
import type { SealedKey } from './store.ts'

/** Closes and opens keys with one master key. */
export interface KeySealer {
  seal(key: Pick<SealedKey, 'id' | 'purpose'>, plain: Buffer | string): string
  /** Throws `not_configured` when the master key does not fit. */
  open(key: SealedKey): Buffer
  fits(key: SealedKey): boolean
}

export function keySealer(masterKey: Secret, random: Random): KeySealer {
  const kek = deriveKey(Buffer.from(masterKey.reveal()), 'kek')
  // Bound to id and purpose, so that no key can be passed off as another.
  const contextOf = ({ purpose, id }: Pick<SealedKey, 'id' | 'purpose'>) => `${purpose}:${id}`
  const opened = (key: SealedKey) => unseal(key.sealed, { key: kek, context: contextOf(key) })

  return {
    seal: (key, plain) => seal(plain, { key: kek, context: contextOf(key), random }),
    open(key) {
      const plain = opened(key)
      if (plain !== undefined) return plain
      throw new CoreError(
        'not_configured',
        'The master key does not fit this database: its keys cannot be opened. Give the MINTMARK_MASTER_KEY (or the key file) that the database was made with.',
      )
    },
    fits: (key) => opened(key) !== undefined,
  }
}
