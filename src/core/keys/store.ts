export type KeyPurpose =
  | 'root'
  | 'pepper'
  | 's7-jwt'
  | 'oauth-rs256'
  | 'oauth-es256'
  | 'jwt-es256'
  | 'xms-login'

/** A key as it lies in the database: encrypted under the master key, which is not there. */
export interface SealedKey {
  id: string
  purpose: KeyPurpose
  sealed: string
  createdAtMs: number
  /** Used for new work until then; undefined: current. */
  retiredAtMs: number | undefined
}

export interface KeyStore {
  /** False, and nothing is stored, when the purpose has a current key; xms-login has any number. */
  insert(key: SealedKey): Promise<boolean>
  all(): Promise<SealedKey[]>
  byId(id: string): Promise<SealedKey | undefined>
  /** One conditional statement: false when it was retired, removed or sealed anew meanwhile. */
  retire(key: Pick<SealedKey, 'id' | 'sealed'>, atMs: number): Promise<boolean>
  /** Replaces what is sealed, if it still is `from`. */
  reseal(id: string, from: string, to: string): Promise<boolean>
  /** Deletes a retired key; false when there is none. */
  remove(id: string): Promise<boolean>
  /**
   * The same for a pepper, unless the secret of a client, or of a token that is neither revoked nor
   * expired at `nowMs`, was digested under it.
   */
  removeUnused(id: string, nowMs: number): Promise<boolean>
  purge(purpose: KeyPurpose, createdBeforeMs: number): Promise<void>
}
