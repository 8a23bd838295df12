import { randomBytes } from 'node:crypto'
import type { Client } from '../../src/core/clients/client.ts'
import { type GrantId, idMaker } from '../../src/core/id.ts'
import type { User } from '../../src/core/users/user.ts'
import type { TestCore } from './core.ts'
import { oauthSeed } from './oauth-seed.ts'

/** A grant as the engine saves one, with an access token that came of it. */
export async function seedGrant(
  t: TestCore,
  { user, client, ttlMs = 3_600_000 }: { user: User; client: Client; ttlMs?: number },
): Promise<GrantId> {
  const atMs = t.clock.now()
  const id = idMaker(t.clock, randomBytes)() as GrantId
  const grant = {
    id,
    userId: user.id,
    clientId: client.id,
    sessionId: undefined,
    scopes: ['openid'],
    resources: [],
    createdAtMs: atMs,
    updatedAtMs: atMs,
    expiresAtMs: atMs + ttlMs,
    revokedAtMs: undefined,
  }
  await t.store.transaction((tx) => tx.grants.put(grant, ''))
  const seed = oauthSeed({
    transaction: t.store.transaction,
    keyring: () => t.core.keyring,
    clock: t.clock,
    serviceUserId: client.serviceUserId,
  })
  await seed.token({ kind: 'oauth_access', ownerId: user.id, client, grantId: id })
  return id
}
