export type KeyPurpose = 'root' | 'pepper' | 's7-jwt' | 'xms-login'

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
  insert(key: SealedKey): Promise<void>
  all(): Promise<SealedKey[]>
  byId(id: string): Promise<SealedKey | undefined>
  purge(purpose: KeyPurpose, createdBeforeMs: number): Promise<void>
}
