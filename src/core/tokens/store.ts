import type { ClientId, GrantId, GroupId, TokenId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { SecretDigest } from '../secret.ts'
import type { Roots } from './inventory-store.ts'
import type { Token, TokenKind, TokenState, UseVia, Via } from './token.ts'

/** A token about to be saved; the store gives the serial unless it is taken over. */
export type NewToken = Omit<
  Token,
  | 'serial'
  | 'revokedAtMs'
  | 'revokedBy'
  | 'revokeReason'
  | 'supersededAtMs'
  | 'supersededBy'
  | 'overlapEndsAtMs'
  | 'quarantinedAtMs'
  | 'quarantinedBy'
  | 'quarantineReason'
  | 'lastUsedAtMs'
  | 'lastUsedIp'
  | 'lastUsedVia'
  | 'lastUsedAgent'
  | 'useCount'
> & {
  nameKey: string | undefined
  digest: SecretDigest
  pepperId: string
  creatorTokenId: TokenId | undefined
  serial?: number
  /** Of a successor whose predecessor's secret goes on for a while. */
  overlapEndsAtMs?: number
  /** Of OAuth tokens: what the engine keeps of it, sealed, and the claims of its ID token. */
  engineRecord?: string
  idClaims?: Record<string, unknown>
}

export interface TokenFilter {
  ids?: TokenId[]
  ownerId?: UserId
  creatorId?: UserId
  kinds?: TokenKind[]
  states?: TokenState[]
  groupId?: GroupId
  role?: string
  via?: Via[]
  clientId?: ClientId
  /** Part of the name or description, caseless. */
  text?: string
}

/** Whose end is the end of an OAuth token. */
export interface TokenOrigins {
  clientId: ClientId
  ownerId: UserId
  grantId: GrantId | undefined
  parentId: TokenId | undefined
}

/** Tokens that clients were given and that were not revoked, expired ones too. */
export interface ClientTokenFilter {
  kind: TokenKind
  /** Whether those show that were exchanged for something newer. */
  withSpent: boolean
  ownerId?: UserId
  clientId?: ClientId
}

/** What such tokens can be put in order by; clients and owners go by their serial. */
export interface ClientTokenOrder {
  by: 'serial' | 'client' | 'owner' | 'expiry' | 'spent'
  descending: boolean
}

/** Live tokens of an owner, narrowed. */
export interface OwnedFilter {
  ownerId: UserId
  kinds?: TokenKind[]
  via?: Via[]
  exceptId?: TokenId
}

export interface Revocation {
  by: UserId | undefined
  reason: string
  atMs: number
}

/** A token that a revocation reached. */
export type Hit = Pick<Token, 'id' | 'kind'>

export interface Usage {
  tokenId: TokenId
  /** 0: it was refused alone. */
  lastUsedAtMs: number
  /** What is not known here and below stays as it was. */
  lastUsedIp: string | undefined
  lastUsedVia: UseVia | undefined
  lastUsedAgent: string | undefined
  /** Uses since the last flush. */
  count: number
}

/** What the domain needs saved about tokens. */
export interface TokenStore {
  /** Throws `name_taken` when the owner has a live token of that name. */
  insert(token: NewToken): Promise<Token>
  /**
   * Lets none of these end before the transaction does; others may hold them at the same time. Comes
   * before anything else in it that locks a token, and before `glance`, which then tells the truth.
   */
  hold(origins: TokenOrigins): Promise<void>
  byId(id: TokenId): Promise<Token | undefined>
  /** The same, but others may change the token meanwhile, unless it is held. */
  glance(id: TokenId): Promise<Token | undefined>
  /** Those that there are, in no order. Others may change them meanwhile. */
  byIds(ids: readonly TokenId[]): Promise<Token[]>
  /** The current token of a lineage, never a superseded one. */
  bySerial(serial: number): Promise<Token | undefined>
  byDigest(digest: SecretDigest): Promise<Token | undefined>
  hasLiveName(ownerId: UserId, nameKey: string): Promise<boolean>
  /** Newest first; `size + 1` rows at most. `nowMs` decides what is expired. */
  list(
    filter: TokenFilter,
    from: Position | undefined,
    size: number,
    nowMs: number,
  ): Promise<Token[]>
  /** By serial, for the dialect that counts rows. */
  listBySerial(
    filter: TokenFilter,
    span: { offset: number; limit: number },
    nowMs: number,
  ): Promise<Token[]>
  /** How many `listBySerial` counts. */
  count(filter: TokenFilter, nowMs: number): Promise<number>
  /** In that order, then by serial; for the dialect that sorts and counts rows. */
  listOfClients(
    filter: ClientTokenFilter,
    order: readonly ClientTokenOrder[],
    span: { offset: number; limit: number },
  ): Promise<Token[]>
  /** How many `listOfClients` counts. */
  countOfClients(filter: ClientTokenFilter): Promise<number>
  /** Throws `name_taken`. */
  update(
    id: TokenId,
    to: {
      name: string | undefined
      nameKey: string | undefined
      description: string
      metadata: string
      atMs: number
    },
  ): Promise<void>
  /**
   * One conditional statement: gives the serial and name free for the successor; the secret stops at
   * `endsAtMs`. False when the token was revoked or superseded meanwhile, so two racing rotations have
   * one winner.
   */
  supersede(id: TokenId, to: { by: TokenId; atMs: number; endsAtMs: number }): Promise<boolean>
  /** The token that this one has taken the place of, if it is still kept. */
  predecessorOf(token: Pick<Token, 'id' | 'familyId'>): Promise<Token | undefined>
  /**
   * Lets everything derived from a token end with it at `endsAtMs`, unless it ends before. What is
   * derived later takes that end over when it is inserted. Returns whom it hit.
   */
  endDerived(id: TokenId, to: { endsAtMs: number; atMs: number }): Promise<TokenId[]>
  /**
   * Moves the end of an overlap, of the successor's knowledge of it, and of what was derived, except
   * OAuth tokens, which have passed their end on to others. Returns whom it hit.
   */
  moveOverlap(
    old: Pick<Token, 'id' | 'supersededAtMs' | 'supersededBy'>,
    to: { endsAtMs: number; atMs: number },
  ): Promise<TokenId[]>
  /** The latest use among the tokens of each grant. */
  lastUses(ids: GrantId[]): Promise<Map<GrantId, number>>
  /**
   * One conditional statement: marks a code or refresh token as spent. False when it was spent or
   * revoked meanwhile, so that racing redemptions have one winner.
   */
  spend(id: TokenId, by: TokenId | undefined, atMs: number): Promise<boolean>
  engineRecordOf(id: TokenId): Promise<string | undefined>
  /** Claims of the ID tokens that came with these tokens. */
  idClaimsOf(ids: TokenId[]): Promise<Map<TokenId, Record<string, unknown>>>
  /** Revokes the token, its family and everything derived from them. Returns whom it hit. */
  revokeTree(id: TokenId, revocation: Revocation): Promise<Hit[]>
  /** Revokes the token and everything derived from it, but not its family. */
  revokeAlone(id: TokenId, revocation: Revocation): Promise<Hit[]>
  /** Revokes everything derived from the token, which itself stays as it is. */
  revokeDerived(id: TokenId, revocation: Revocation): Promise<Hit[]>
  /** Revokes all live tokens of an owner, and what is derived from them. Returns whom it hit. */
  revokeOwned(filter: OwnedFilter, revocation: Revocation): Promise<Hit[]>
  /** Revokes what came of a grant, and what is derived from it. */
  revokeFamily(id: GrantId, revocation: Revocation): Promise<Hit[]>
  /** Revokes all that a client was given, and what is derived from it. */
  revokeOfClient(id: ClientId, revocation: Revocation): Promise<Hit[]>
  /** Revokes these tokens with what dies with them. Returns whom it hit. */
  revokeMany(roots: Roots, revocation: Revocation): Promise<Hit[]>
  /**
   * Lets these tokens end then, and what clients were given for them, unless they end before or were revoked.
   * Returns whom it hit.
   */
  shorten(ids: readonly TokenId[], expiresAtMs: number, atMs: number): Promise<TokenId[]>
  /**
   * Quarantines the token and everything derived from it that is not revoked, of a refresh token its family,
   * too. Returns whom it hit.
   */
  quarantine(id: TokenId, quarantine: Revocation): Promise<Hit[]>
  /** Takes back what quarantining this token did, and nothing else. Returns whom it freed. */
  release(id: TokenId, atMs: number): Promise<Hit[]>
  recordUse(uses: Usage[]): Promise<void>
  /** Deletes at most `limit` rows that ended before `endedBeforeMs`. Returns how many. */
  purge(endedBeforeMs: number, limit: number): Promise<number>
}
