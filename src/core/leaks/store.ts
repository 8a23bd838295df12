import type { TokenId } from '../id.ts'

/** A token as it was reported at one place. */
export interface Sighting {
  tokenId: TokenId
  /** Digest of where it was seen and what found it. */
  place: string
  atMs: number
  /** Reported before then, it counts as new. */
  sinceMs: number
  /** Whether it counts as new although the token was released since it was last reported. */
  evenIfSettled: boolean
}

/** Which places each token was reported at; a bounded number of them. */
export interface LeakStore {
  /** Notes a sighting; false when it is known already. Inside a transaction: nobody else does meanwhile. */
  note(sighting: Sighting): Promise<boolean>
  /** What a token was reported for until now is dealt with. Call it before the token is locked. */
  settle(tokenId: TokenId, atMs: number): Promise<void>
}
