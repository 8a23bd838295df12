import type { Client } from '../../src/core/clients/client.ts'
import { seedServer } from './oauth-seed.ts'
import type { Answer, TestServer } from './server.ts'

export interface MadeClient {
  id: string
  clientId: string
  serviceUserId: string
  secret: string | null
}

let made = 0

/** Makes a client through our API; what the wish leaves out suits a client of its own. */
export async function makeClient(
  server: TestServer,
  wish: Record<string, unknown> = {},
): Promise<MadeClient> {
  const answer = await server.call('POST', '/api/v1/clients', {
    body: { name: `client ${++made}`, grants: ['client_credentials'], ...wish },
  })
  return expectMade(answer).body as MadeClient
}

/** A grant as the engine saves one, beside a running server. */
export async function seedGrant(
  server: TestServer,
  wish: { id: string; userId: string; clientId: string; scopes?: string[]; ttlMs?: number },
): Promise<string> {
  const atMs = server.clock.now()
  const scopes = JSON.stringify(wish.scopes ?? ['openid'])
  await server.database.tamper(
    `insert into "grant" (id, user_id, client_id, session_id, scopes, resources, engine_record,
      created_at_ms, updated_at_ms, expires_at_ms, revoked_at_ms)
    values ('${wish.id}', '${wish.userId}', '${wish.clientId}', null, '${scopes}', '[]', '',
      ${atMs}, ${atMs}, ${atMs + (wish.ttlMs ?? 3_600_000)}, null)`,
  )
  return wish.id
}

let grants = 0

/** A grant with a refresh token and an access token that came of it. */
export async function seedFamily(
  server: TestServer,
  wish: { userId: string; clientId: string; scopes?: string[]; ttlMs?: number },
) {
  const id = `01b8dac5-b400-7000-8000-${String(++grants).padStart(12, '0')}`
  await seedGrant(server, { id, ...wish })
  const seed = await seedServer(server)
  const client = { id: wish.clientId } as Client
  const scopes = ['mintmark', ...(wish.scopes ?? ['openid'])]
  const common = { ownerId: wish.userId, client, scopes, grantId: id }
  const refresh = await seed.token({ kind: 'oauth_refresh', ...common })
  const access = await seed.token({ kind: 'oauth_access', ...common })
  for (const { secret } of [refresh, access]) server.remember(secret)
  return { id, refresh, access }
}

function expectMade(answer: Answer): Answer {
  if (answer.status !== 201) throw new Error(`No client: ${answer.status} ${answer.text}`)
  return answer
}
