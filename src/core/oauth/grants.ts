import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Grant } from '../grants/grant.ts'
import type { ClientId, GrantId, UserId } from '../id.ts'
import { seal, unseal } from '../seal.ts'
import type { Repositories } from '../store.ts'

export interface FoundGrant {
  grant: Grant
  record: Record<string, unknown>
}

const contextOf = (id: GrantId) => `grant:${id}`

export type GrantDraft = Omit<Grant, 'createdAtMs' | 'updatedAtMs' | 'revokedAtMs'>

/**
 * Saves what a user lets a client do; `record` is the engine's own view of it. Throws
 * `token_not_active` when it was withdrawn meanwhile, or its user or client disabled.
 */
export async function saveEngineGrant(
  deps: Deps,
  tx: Repositories,
  { origin, grant, record }: { origin: Origin; grant: GrantDraft; record: Record<string, unknown> },
): Promise<void> {
  const nowMs = deps.clock.now()
  const { userId: ownerId, clientId } = grant
  await tx.tokens.hold({ clientId, ownerId, grantId: undefined, parentId: undefined })
  const [user, client, before] = [
    await tx.users.glance(ownerId),
    await tx.clients.glance(clientId),
    await tx.grants.byId(grant.id),
  ]
  if (!user?.active || !client?.active || before?.revokedAtMs !== undefined) {
    throw new CoreError('token_not_active', 'The user, the client or the grant has ended.')
  }
  const sealed = seal(JSON.stringify(record), {
    key: deps.keyring.derived('oauth'),
    context: contextOf(grant.id),
    random: deps.random,
  })
  const after: Grant = {
    ...grant,
    createdAtMs: before?.createdAtMs ?? nowMs,
    updatedAtMs: nowMs,
    revokedAtMs: undefined,
  }
  await tx.grants.put(after, sealed)
  if (before !== undefined && !isWider(after, before)) return
  await deps.audit(
    tx,
    { origin, user },
    {
      action: 'grant.given',
      subjectType: 'grant',
      subjectId: grant.id,
      before: before === undefined ? undefined : grantFacts(before),
      after: grantFacts(after),
    },
  )
}

function isWider(after: Grant, before: Grant): boolean {
  return (
    after.scopes.some((scope) => !before.scopes.includes(scope)) ||
    after.resources.some((resource) => !before.resources.includes(resource))
  )
}

function grantFacts({ clientId, userId, scopes, resources }: Grant): Record<string, unknown> {
  return { clientId, userId, scopes, resources }
}

/** A grant that is in force, its end aside, which the engine looks at. */
export async function findEngineGrant(deps: Deps, id: GrantId): Promise<FoundGrant | undefined> {
  const grant = await deps.store.grants.byId(id)
  if (grant === undefined || grant.revokedAtMs !== undefined) return undefined
  const sealed = await deps.store.grants.payloadOf(id)
  const plain =
    sealed === undefined
      ? undefined
      : unseal(sealed, { key: deps.keyring.derived('oauth'), context: contextOf(id) })
  if (plain === undefined) return undefined
  // Opens under our key, so it is what was sealed above.
  return { grant, record: JSON.parse(plain.toString()) as Record<string, unknown> }
}

/** How many of a user's latest grants to a client are looked through for one that covers a request. */
const REMEMBERED = 20

/** The latest grant in force that covers what is asked for, from whichever login. */
export async function rememberedGrant(
  deps: Deps,
  wish: {
    userId: UserId
    clientId: ClientId
    scopes: readonly string[]
    resources: readonly string[]
  },
): Promise<Grant | undefined> {
  const { userId, clientId, scopes, resources } = wish
  const filter = { userId, clientId, liveAtMs: deps.clock.now() }
  const grants = await deps.store.grants.list(filter, undefined, REMEMBERED)
  return grants.find(
    (grant) =>
      scopes.every((scope) => grant.scopes.includes(scope)) &&
      resources.every((resource) => grant.resources.includes(resource)),
  )
}
