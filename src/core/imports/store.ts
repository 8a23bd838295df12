import type { TokenId } from '../id.ts'
import type { SecretDigest } from '../secret.ts'

/** What imported secrets can look like, as far as it is known. */
export interface Shape {
  /**
   * `plain`: foreign secrets of that length, found by our own digest. `sha256`: found by the digest of
   * their hash, of any length (0). `hint`: found by their first so many characters, then by a slow hash.
   */
  kind: 'plain' | 'sha256' | 'hint'
  length: number
}

export interface ImportRow {
  importId: string
  rowKey: string
  tokenId: TokenId
  /** Keyed digest of the secret or its hash, so that the same one is known again. */
  fingerprint: string
}

/** What the domain needs saved about imports. */
export interface ImportStore {
  /** Does part of a transaction; when it throws, what it has written so far goes, and nothing else. */
  attempt<T>(work: () => Promise<T>): Promise<T>
  /** Those rows of an import that are done, by key. No other import begins meanwhile. */
  rows(importId: string, rowKeys: readonly string[]): Promise<Map<string, TokenId>>
  byFingerprint(fingerprint: string): Promise<TokenId | undefined>
  insertRow(row: ImportRow): Promise<void>
  countRows(importId: string): Promise<number>
  /** Remembers a user or group that an import made. */
  insertMade(importId: string, subjectId: string): Promise<void>
  wasMade(importId: string, subjectId: string): Promise<boolean>
  shapes(): Promise<Shape[]>
  /** Whether it was new. */
  addShape(shape: Shape): Promise<boolean>
  insertHash(hash: { tokenId: TokenId; hint: string; sealed: string }): Promise<void>
  countHashes(hint: string): Promise<number>
  hashesBy(hints: readonly string[]): Promise<{ tokenId: TokenId; sealed: string }[]>
  /** Gives a token its lasting digest and forgets the foreign hash. Whether anything changed. */
  rekey(
    id: TokenId,
    to: { digest: SecretDigest; pepperId: string; preview: string },
  ): Promise<boolean>
}
