import type { Origin } from '../caller.ts'
import { API_SCOPES, type Client } from '../clients/client.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { ClientId, GrantId, TokenId, UserId } from '../id.ts'
import { mustBeClear } from '../policy/enforce.ts'
import { least, type Restraint, restrained, restraintOf } from '../policy/restraint.ts'
import { termsFor } from '../policy/terms.ts'
import { holdsScope } from '../rights.ts'
import { seal, unseal } from '../seal.ts'
import { digestOf, formatOf, type Secret } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { saveToken } from '../tokens/issue.ts'
import { isOauthKind, type Limits, stateOf, type Token, type TokenKind } from '../tokens/token.ts'

export type OauthKind = Extract<TokenKind, `oauth_${string}`>

/** A token that the engine gives out, as it is to be saved. */
export interface EngineToken {
  id: TokenId
  kind: OauthKind
  /** Undefined for a JWT, which is found by the id that it names. */
  secret: Secret | undefined
  clientId: ClientId
  ownerId: UserId
  /** The family that it belongs to; undefined: it starts one. */
  grantId: GrantId | undefined
  /** What it dies with, besides its family: a login, or the token that it was exchanged for. */
  parentId: TokenId | undefined
  scopes: readonly string[]
  /** Absent: as the scopes say. */
  limits?: Limits
  audience: string | undefined
  boundKey: string | undefined
  expiresAtMs: number
  /** What the engine wants to find again. Holds no secret. */
  record: Record<string, unknown>
  idClaims?: Record<string, unknown>
}

/** A stored token with the engine's record of it. */
export interface FoundToken {
  token: Token
  record: Record<string, unknown>
  unclear: Restraint['unclear']
}

const contextOf = (id: TokenId) => `token:${id}`

/**
 * Saves a token for its client, unless what it comes from has ended meanwhile: so no revocation is
 * outlived by a token that was being made. Throws `token_not_active`.
 */
export async function saveEngineToken(
  deps: Deps,
  tx: Repositories,
  wish: { origin: Origin; token: EngineToken },
): Promise<Token> {
  await tx.tokens.hold(wish.token)
  return saveHeldToken(deps, tx, wish)
}

/** The same for a token whose origins the transaction holds. */
export async function saveHeldToken(
  deps: Deps,
  tx: Repositories,
  { origin, token }: { origin: Origin; token: EngineToken },
): Promise<Token> {
  const owner = await tx.users.glance(token.ownerId)
  if (!owner?.active) throw ended('Its user is disabled or gone.')
  await mustBeLive(tx, token, deps.clock.now())
  const sealed = seal(JSON.stringify(token.record), {
    key: deps.keyring.derived('oauth'),
    context: contextOf(token.id),
    random: deps.random,
  })
  const saved = await saveToken(deps, tx, {
    id: token.id,
    actor: { origin, user: owner },
    ownerId: token.ownerId,
    creatorId: token.ownerId,
    creatorTokenId: token.parentId,
    kind: token.kind,
    name: undefined,
    limits: token.limits ?? limitsFor(token.scopes),
    expiresAtMs: token.expiresAtMs,
    via: 'oauth',
    format: token.secret === undefined ? 'jwt' : 'mintmark',
    ...(token.secret === undefined ? {} : { givenSecret: token.secret }),
    ...(token.parentId === undefined ? {} : { parentId: token.parentId }),
    ...(token.grantId === undefined ? {} : { familyId: token.grantId }),
    ...(token.idClaims === undefined ? {} : { idClaims: token.idClaims }),
    oauth: { clientId: token.clientId, audience: token.audience, boundKey: token.boundKey },
    engineRecord: sealed,
  })
  return saved.token
}

/** A token for a client says who its user is; only the API scopes let it act as that user here. */
function limitsFor(scopes: readonly string[]): Limits {
  const actsAsUser = API_SCOPES.some((scope) => scopes.includes(scope))
  return {
    accessLevel: actsAsUser ? 'FULL_ACCESS' : 'READ_ONLY',
    roles: actsAsUser ? null : [],
    groups: actsAsUser || scopes.includes('groups') ? null : [],
    scopes,
    allowedIps: null,
  }
}

async function mustBeLive(
  tx: Repositories,
  { grantId, parentId, clientId }: EngineToken,
  nowMs: number,
): Promise<void> {
  const client = await tx.clients.glance(clientId)
  if (!client?.active) throw ended('Its client is disabled or gone.')
  if (grantId !== undefined) {
    const grant = await tx.grants.glance(grantId)
    if (grant === undefined || grant.revokedAtMs !== undefined) throw ended('It was withdrawn.')
  }
  if (parentId !== undefined) {
    const parent = await tx.tokens.glance(parentId)
    if (parent === undefined || stateOf(parent, nowMs) !== 'active') throw ended('It has ended.')
  }
}

function ended(message: string): CoreError {
  return new CoreError('token_not_active', message)
}

/**
 * The OAuth token of that secret, for whoever wants to use it: unless it was revoked or quarantined or its user
 * disabled. Spent and expired ones are found. Throws `unavailable` where only a newer release can tell.
 */
export async function findUsableToken(
  deps: Deps,
  secret: string,
  kind: OauthKind,
): Promise<FoundToken | undefined> {
  const found = await findEngineToken(deps, secret, kind)
  // Its client would throw away what it was told is no good, and a newer server takes it.
  if (found !== undefined) mustBeClear(found)
  return found?.token.quarantinedAtMs === undefined ? found : undefined
}

/** The same for whoever ends it, quarantined ones included: they may be released. */
export async function findEngineToken(
  deps: Deps,
  secret: string,
  kind: OauthKind,
): Promise<FoundToken | undefined> {
  // What stands in for a JWT's digest is made of its id, which is no secret: see `jwtDigest`.
  if (formatOf(secret) === undefined) return undefined
  for (const pepper of deps.keyring.peppers()) {
    const token = await deps.store.tokens.byDigest(digestOf(secret, pepper))
    if (token !== undefined) return token.kind === kind ? withRecord(deps, token) : undefined
  }
  return undefined
}

async function withRecord(deps: Deps, token: Token): Promise<FoundToken | undefined> {
  if (token.revokedAtMs !== undefined || !isOauthKind(token.kind)) return undefined
  const [owner, sealed, restraint] = await Promise.all([
    deps.store.users.byId(token.ownerId),
    deps.store.tokens.engineRecordOf(token.id),
    restraintOf(deps.policy(), deps.store, token),
  ])
  if (!owner?.active || sealed === undefined) return undefined
  const plain = unseal(sealed, {
    key: deps.keyring.derived('oauth'),
    context: contextOf(token.id),
  })
  if (plain === undefined) return undefined
  // Opens under our key, so it is what was sealed above.
  const record = JSON.parse(plain.toString()) as Record<string, unknown>
  return { token: heldByPolicy(token, restraint), record, unclear: restraint?.unclear }
}

/** The token as the policy lets it be: over, when it stood idle for too long. */
function heldByPolicy(saved: Token, restraint: Restraint | undefined): Token {
  const token = restrained(saved, restraint)
  if (token.idleSeconds === undefined) return token
  const idleEndMs = (token.lastUsedAtMs ?? token.createdAtMs) + token.idleSeconds * 1000
  return { ...token, expiresAtMs: least(token.expiresAtMs, idleEndMs) }
}

/** Marks a code or refresh token as spent; false when it was spent or revoked meanwhile. */
export async function spendEngineToken(
  deps: Deps,
  tx: Repositories,
  { origin, token, by }: { origin: Origin; token: Token; by: TokenId | undefined },
): Promise<boolean> {
  if (!(await tx.tokens.spend(token.id, by, deps.clock.now()))) return false
  const user = await tx.users.glance(token.ownerId)
  await tx.changes.append({ subject: 'token', id: token.id })
  await deps.audit(
    tx,
    { origin, ...(user === undefined ? {} : { user }) },
    {
      action: 'token.spent',
      subjectType: 'token',
      subjectId: token.id,
      after: { kind: token.kind, ...(by === undefined ? {} : { successorId: by }) },
    },
  )
  return true
}

/** Longest lifetime in seconds that the policy's rules give to such a token now; undefined: any. */
export async function longestTtlSeconds(
  deps: Deps,
  { ownerId, kind }: { ownerId: UserId; kind: OauthKind },
): Promise<number | undefined> {
  const policy = deps.policy()
  if (policy.tokenRules.every(({ maxTtlSeconds }) => maxTtlSeconds === null)) return undefined
  const owner = await deps.loadOwner(ownerId)
  return owner && termsFor(policy, { kind, groups: owner.groups }).maxTtlSeconds?.value
}

/** Scopes that a user holds now, of those asked for, within what the client may ask for and the rules allow. */
export async function heldScopes(
  deps: Deps,
  { ownerId, client, scopes }: { ownerId: UserId; client: Client; scopes: readonly string[] },
): Promise<string[]> {
  const owner = await deps.loadOwner(ownerId)
  if (owner === undefined) return []
  const { scopes: most } = termsFor(deps.policy(), { kind: 'oauth_access', groups: owner.groups })
  return scopes.filter(
    (scope) =>
      client.scopes.includes(scope) &&
      holdsScope(owner, scope) &&
      most.every(({ value }) => value.includes(scope)),
  )
}
