import type { AccessLevel, Mode } from './types.ts'

export type ImportAlgorithm = 'sha256-hex' | 'sha256-base64' | 'bcrypt' | 'argon2'

/** A token of another system: its secret, or what that system kept of it. */
export interface ImportRow {
  /** Its place in the file, from 1. */
  row: number
  externalId?: string
  secret?: string
  hash?: string
  algorithm?: ImportAlgorithm
  /** First characters of the secret; needed for bcrypt and argon2. */
  lookup?: string
  name: string
  description?: string
  /** Username. */
  owner: string
  kind?: 'api' | 'service'
  accessLevel?: AccessLevel
  roles?: string[] | null
  groups?: { group: string; mode: Mode }[] | null
  scopes?: string[] | null
  allowedIps?: string[] | null
  createdAt?: string
  expiresAt?: string | null
  metadata?: Record<string, unknown>
}

export interface ImportBatch {
  /** The same one again goes on where it was. */
  importId: string
  /** Only says what would be done. */
  dryRun?: boolean
  createOwners?: 'service' | 'person'
  createGroups?: boolean
  /** At most 200. */
  rows: ImportRow[]
}

export interface ImportRowVerdict {
  row: number
  outcome: 'created' | 'exists' | 'refused'
  tokenId: string | null
  code: string | null
  message: string | null
}
