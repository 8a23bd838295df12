import { mustBeAllowed } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import {
  boundExpiry,
  checkAddressRanges,
  inheritLimits,
  mustBeHeldBy,
  mustBeWithin,
} from '../bounds.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { GrantId, TokenId, UserId } from '../id.ts'
import { beyond, mustBeClear, mustBeCreator, mustFitPolicy } from '../policy/enforce.ts'
import { effectiveEndMs, restrained, restraintOf } from '../policy/restraint.ts'
import { isCreated } from '../policy/rule.ts'
import { type Terms, termsFor } from '../policy/terms.ts'
import type { Owner } from '../rights.ts'
import { checkScope } from '../roles/role.ts'
import {
  CHOSEN_SECRET,
  digestOf,
  makeSecret,
  mayBeChosen,
  type Pepper,
  previewOf,
  Secret,
  type SecretDigest,
  type SecretFormat,
} from '../secret.ts'
import type { Repositories } from '../store.ts'
import { checkJsonObject, checkName, checkProse, nameKey } from '../text.ts'
import {
  isOauthKind,
  type Limits,
  type OauthFacts,
  type Token,
  type TokenKind,
  type Via,
} from './token.ts'

export interface TokenWish {
  /** Absent: a new one is made. */
  id?: TokenId
  /** Absent: the caller. */
  ownerId?: UserId
  kind: 'api' | 'service'
  name: string
  description?: string
  limits: Limits
  /** `default`: as the policy says; `never`: no end, if the policy allows; else epoch milliseconds. */
  expires: number | 'default' | 'never'
  metadata?: Record<string, unknown>
  /** Absent: our own format for `api`, UUIDv4 for `service`. */
  format?: 'mintmark' | 'hex' | 'uuid'
}

/** A new token with its secret, which exists nowhere else from now on. */
export interface Issued {
  token: Token
  secret: Secret
}

/** Shortest lifetime worth giving out, so that a clock a little off does not make a dead token. */
const MIN_TTL_SECONDS = 1
const MAX_SECONDS = 100 * 366 * 86_400

/**
 * Creates a token for its owner, never wider than the caller's own rights or the owner's.
 * Throws `forbidden`, `beyond_rights`, `beyond_policy`, `not_found` (owner), `name_taken`,
 * `invalid_input`.
 */
export async function issueToken(
  deps: Deps,
  tx: Repositories,
  { caller, wish, via }: { caller: Caller; wish: TokenWish; via: Via },
): Promise<Issued> {
  const { principal } = caller
  const ownerId = wish.ownerId ?? principal.user.id
  const settled = await settleWish(deps, tx, { caller, wish: { ...wish, ownerId } })
  return saveToken(deps, tx, {
    actor: caller,
    ownerId,
    creatorId: principal.user.id,
    creatorTokenId: principal.token.id,
    kind: wish.kind,
    name: wish.name,
    description: wish.description ?? '',
    ...settled,
    ...(wish.id === undefined ? {} : { id: wish.id }),
    metadata: wish.metadata ?? {},
    via,
    format: wish.format ?? (wish.kind === 'service' ? 'uuid' : 'mintmark'),
  })
}

/**
 * What a wish comes to within the rights of caller and owner, and the policy. Throws `forbidden`,
 * `beyond_rights`, `beyond_policy`, `not_found` (owner), `conflict` (owner disabled), `invalid_input`.
 */
export async function settleWish(
  deps: Deps,
  tx: Repositories,
  {
    caller: { principal },
    wish,
  }: { caller: Caller; wish: Pick<TokenWish, 'kind' | 'limits' | 'expires'> & { ownerId: UserId } },
): Promise<{ limits: Limits; expiresAtMs: number | undefined }> {
  const policy = deps.policy()
  const { ownerId } = wish
  mustBeAllowed(principal, 'token.create', { what: { ownerId, kind: wish.kind }, policy })

  const owner = await deps.loadOwner(ownerId, tx)
  if (owner === undefined) throw new CoreError('not_found', 'There is no such owner.')
  mustBeActive(owner)
  const terms = termsFor(policy, { kind: wish.kind, groups: owner.groups })
  mustBeCreator(principal, terms)
  const limits = boundLimits(wish.limits, { creator: principal.token.limits, owner })
  const expiresAtMs = boundExpiry(expiryOf(wish.expires, { terms, nowMs: deps.clock.now() }), {
    creator: await standsFor(deps, tx, principal.token),
    explicit: typeof wish.expires === 'number',
  })
  return { limits, expiresAtMs }
}

/**
 * The token that a session was opened from, if any: it bounds what the session makes, so that a
 * session is no way to outlive the token.
 */
export async function standsFor(
  deps: Pick<Deps, 'policy'>,
  tx: Repositories,
  token: Token,
): Promise<Token> {
  if (token.kind !== 'session' || token.parentId === undefined) return token
  const parent = await tx.tokens.glance(token.parentId)
  if (parent === undefined) return token
  return standsFor(deps, tx, restrained(parent, await restraintOf(deps.policy(), tx, parent)))
}

export interface TokenDraft {
  /** Absent: a new one is made. */
  id?: TokenId
  actor: Actor
  ownerId: UserId
  creatorId: UserId
  creatorTokenId: TokenId | undefined
  kind: TokenKind
  name: string | undefined
  description?: string
  limits: Limits
  expiresAtMs: number | undefined
  idleSeconds?: number
  metadata?: Record<string, unknown>
  via: Via
  format: 'mintmark' | 'hex' | 'uuid' | 'jwt' | 'imported'
  /** Of a token of another system: all that is kept of its secret. */
  imported?: { digest: SecretDigest; preview: string; format: SecretFormat }
  /** When the other system made it. */
  createdAtMs?: number
  /** A secret picked by the operator instead of a random one. */
  chosenSecret?: Secret
  /** A secret that the OAuth2 engine has given out; made by `makeSecret`, too. */
  givenSecret?: Secret
  oauth?: OauthFacts
  engineRecord?: string
  idClaims?: Record<string, unknown>
  /** Absent: that of `successorOf`, else its own id. */
  familyId?: TokenId | GrantId
  /** Of the token this one succeeds. */
  successorOf?: Token
  /** Until when the secret of that one goes on. */
  overlapEndsAtMs?: number
  parentId?: TokenId
}

/**
 * Saves a token whose rights have been settled, with its audit record and change-log row. However it
 * came about, it ends no later than the policy says. Throws `beyond_policy` for what somebody asked for
 * that the rules do not let such a token have; a successor keeps what its predecessor had. Throws `unavailable`
 * where only a newer release knows what the rules say.
 */
export async function saveToken(deps: Deps, tx: Repositories, draft: TokenDraft): Promise<Issued> {
  const id = draft.id ?? (deps.newId() as TokenId)
  const { text, format } = secretFor(draft, deps)
  const pepper = deps.keyring.pepper()
  const atMs = deps.clock.now()
  const name =
    draft.name === undefined
      ? undefined
      : checkName(draft.name, { what: 'The token name', maxLength: 255 })
  checkJsonObject(draft.metadata ?? {}, 'The metadata')
  const before = draft.successorOf
  // A grant's tokens share the grant's id, and ids of both are of one make.
  const familyId = (draft.familyId ?? before?.familyId ?? id) as TokenId
  const parentId = draft.parentId ?? before?.parentId
  const { kind, ownerId, createdAtMs = atMs } = draft
  const description = checkProse(draft.description ?? '', {
    what: 'The description',
    maxLength: 2000,
  })
  const restraint = await restraintOf(deps.policy(), tx, {
    id,
    kind,
    ownerId,
    familyId,
    parentId,
    createdAtMs,
  })
  if (restraint !== undefined) mustBeClear(restraint)
  if (restraint !== undefined && isCreated(kind) && before === undefined) {
    mustFitPolicy({ description, limits: draft.limits }, restraint)
  }
  const token = await tx.tokens.insert({
    id,
    kind: draft.kind,
    ownerId: draft.ownerId,
    creatorId: draft.creatorId,
    creatorTokenId: draft.creatorTokenId,
    name,
    nameKey: isNameless(draft.kind) || name === undefined ? undefined : nameKey(name),
    description,
    via: draft.via,
    format,
    preview: draft.imported?.preview ?? previewOf(text, format),
    digest:
      draft.imported?.digest ?? (format === 'jwt' ? jwtDigest(id, pepper) : digestOf(text, pepper)),
    pepperId: pepper.id,
    limits: draft.limits,
    metadata: draft.metadata ?? {},
    familyId,
    parentId,
    createdAtMs,
    updatedAtMs: atMs,
    expiresAtMs: effectiveEndMs(draft, restraint),
    idleSeconds: draft.idleSeconds,
    oauth: draft.oauth,
    ...(draft.engineRecord === undefined ? {} : { engineRecord: draft.engineRecord }),
    ...(draft.idClaims === undefined ? {} : { idClaims: draft.idClaims }),
    ...(before?.serial === undefined ? {} : { serial: before.serial }),
    ...(draft.overlapEndsAtMs === undefined ? {} : { overlapEndsAtMs: draft.overlapEndsAtMs }),
  })
  await tx.changes.append({ subject: 'token', id, isNew: true })
  await deps.audit(tx, draft.actor, {
    action:
      draft.kind === 'session' ? 'session.opened' : before ? 'token.rotated' : 'token.created',
    subjectType: 'token',
    subjectId: id,
    before:
      before === undefined ? undefined : { tokenId: before.id, expiresAtMs: before.expiresAtMs },
    after: {
      ...tokenFacts(token),
      ...(before === undefined ? {} : { overlapEndsAtMs: token.overlapEndsAtMs ?? null }),
    },
  })
  return { token, secret: new Secret(text) }
}

function secretFor(draft: TokenDraft, deps: Deps): { text: string; format: SecretFormat } {
  if (draft.format === 'jwt') return { text: '', format: 'jwt' }
  if (draft.format === 'imported') return { text: '', format: draft.imported?.format ?? 'imported' }
  if (draft.givenSecret !== undefined) {
    return { text: draft.givenSecret.reveal(), format: draft.format }
  }
  if (draft.chosenSecret === undefined) {
    return { text: makeSecret(draft.format, draft.kind, deps.random), format: draft.format }
  }
  const text = draft.chosenSecret.reveal()
  if (!mayBeChosen(text)) {
    throw new CoreError('invalid_input', `A chosen secret must be ${CHOSEN_SECRET}.`)
  }
  return { text, format: 'chosen' }
}

/** Stands in for the digest of a secret; `formatOf` and `mayBeForeign` refuse the preimage as one. */
function jwtDigest(id: TokenId, pepper: Pepper) {
  return digestOf(`jwt:${id}`, pepper)
}

/** Kinds whose names, if any, need not differ. */
export function isNameless(kind: TokenKind): boolean {
  return kind === 'session' || isOauthKind(kind)
}

/** What the audit trail keeps of a token. */
function tokenFacts(token: Token): Record<string, unknown> {
  return {
    kind: token.kind,
    ownerId: token.ownerId,
    name: token.name,
    ...token.limits,
    expiresAtMs: token.expiresAtMs,
    via: token.via,
    preview: token.preview,
    ...(token.parentId === undefined ? {} : { parentId: token.parentId }),
    ...(token.oauth === undefined ? {} : { clientId: token.oauth.clientId }),
  }
}

/**
 * The limits asked for, spelled as they are kept, within those of the creating token and within what
 * the owner holds now. Throws `beyond_rights`, `invalid_input`.
 */
export function boundLimits(
  wanted: Limits,
  { creator, owner }: { creator: Limits; owner: Pick<Owner, 'roles' | 'groups' | 'scopes'> },
): Limits {
  const checked: Limits = {
    ...wanted,
    roles: unique(wanted.roles),
    groups: eachGroupOnce(wanted.groups),
    scopes: unique(wanted.scopes)?.map(checkScope) ?? null,
    allowedIps: wanted.allowedIps === null ? null : checkAddressRanges(wanted.allowedIps),
  }
  const limits = inheritLimits(checked, creator)
  mustBeWithin(limits, creator)
  mustBeHeldBy(owner, checked)
  return limits
}

function unique(list: readonly string[] | null): readonly string[] | null {
  return list === null ? null : [...new Set(list)]
}

function eachGroupOnce(groups: Limits['groups']): Limits['groups'] {
  if (groups === null || new Set(groups.map(({ id }) => id)).size === groups.length) return groups
  throw new CoreError('invalid_input', 'A group is named twice. Name each group once.')
}

export function mustBeActive(owner: Owner): void {
  if (owner.user.active) return
  throw new CoreError('conflict', 'The owner is disabled. Enable the user first.')
}

/**
 * The end of life asked for. Throws `invalid_input` when it is past or more than a hundred years off,
 * `beyond_policy` when it is later than the policy says.
 */
export function expiryOf(
  wish: TokenWish['expires'],
  { terms, nowMs }: { terms: Terms; nowMs: number },
): number | undefined {
  const { maxTtlSeconds, defaultTtlSeconds } = terms
  const maxMs = maxTtlSeconds === undefined ? undefined : nowMs + maxTtlSeconds.value * 1000
  if (wish === 'never') return maxMs
  if (wish === 'default') {
    if (defaultTtlSeconds === undefined) return maxMs
    return Math.min(nowMs + defaultTtlSeconds.value * 1000, maxMs ?? Number.POSITIVE_INFINITY)
  }
  if (!Number.isSafeInteger(wish)) {
    throw new CoreError('invalid_input', 'The expiry must be a whole number of milliseconds.')
  }
  if (wish < nowMs + MIN_TTL_SECONDS * 1000) {
    throw new CoreError('invalid_input', 'The expiry must lie in the future.')
  }
  if (wish > nowMs + MAX_SECONDS * 1000) {
    throw new CoreError('invalid_input', 'The expiry must lie within the next hundred years.')
  }
  if (maxTtlSeconds !== undefined && maxMs !== undefined && wish > maxMs) {
    const end = new Date(maxMs).toISOString()
    throw beyond(
      maxTtlSeconds,
      `allows such tokens to live until ${end} at most. Ask for an earlier expiry.`,
    )
  }
  return wish
}
