import type { ClientId, GrantId, TokenId, UserId } from '../../src/core/id.ts'
import { makeSecret, Secret } from '../../src/core/secret.ts'
import { type OauthServer, post, type RegisteredClient, signIn } from './oauth.ts'

/** What one consent of a user has led to: the grant and its tokens. */
export interface Family {
  grantId: string
  userId: string
  client: RegisteredClient
  refresh: string
  refreshId: string
  access: string
}

/** Makes a family for a user and a client. */
export type FamilyMaker = (wish: { userId: string; client: RegisteredClient }) => Promise<Family>

const ORIGIN = { ip: '127.0.0.1', requestId: 'family', via: 'oauth' } as const
const HOUR_MS = 3_600_000

/**
 * Signs in once through the browser, and then makes as many families of that shape as a trial needs:
 * the same rows, saved through the same functions, without the forms.
 */
export async function familyMaker(
  oauth: OauthServer,
  client: RegisteredClient,
  parameters: Record<string, string | undefined> = {},
): Promise<FamilyMaker> {
  const tokens = await signIn(oauth, client, { parameters })
  const engine = () => oauth.server.app.core.oauth
  const refresh = await engine().findToken(tokens.refresh_token ?? '', 'oauth_refresh')
  const access = await engine().findToken(tokens.access_token, 'oauth_access')
  const grant = await engine().findGrant(refresh?.token.familyId as string as GrantId)
  if (refresh === undefined || access === undefined || grant === undefined) {
    throw new Error('Signing in has not led to a grant, a refresh token and an access token.')
  }

  return async (wish) => {
    const { random } = oauth.server.app.core
    const grantId = engine().newId() as GrantId
    const facts = { accountId: wish.userId, clientId: wish.client.clientId, grantId }
    const expiresAtMs = oauth.server.clock.now() + HOUR_MS
    await engine().saveGrant({
      origin: ORIGIN,
      grant: {
        ...grant.grant,
        id: grantId,
        userId: wish.userId as UserId,
        clientId: wish.client.id as ClientId,
        expiresAtMs,
      },
      record: { ...grant.record, accountId: facts.accountId, clientId: facts.clientId },
    })
    const save = async (
      { token, record }: typeof refresh,
      kind: 'oauth_refresh' | 'oauth_access',
    ) => {
      const id = engine().newId() as TokenId
      const secret = makeSecret('mintmark', kind, random)
      oauth.server.remember(secret)
      await engine().saveToken({
        origin: ORIGIN,
        token: {
          id,
          kind,
          secret: new Secret(secret),
          clientId: wish.client.id as ClientId,
          ownerId: wish.userId as UserId,
          grantId,
          parentId: undefined,
          scopes: token.limits.scopes ?? [],
          audience: undefined,
          boundKey: undefined,
          expiresAtMs,
          record: { ...record, ...facts },
        },
      })
      return { id, secret }
    }
    const made = await save(refresh, 'oauth_refresh')
    const { secret } = await save(access, 'oauth_access')
    const { userId } = wish
    return {
      grantId,
      userId,
      client: wish.client,
      refresh: made.secret,
      refreshId: made.id,
      access: secret,
    }
  }
}

export interface Presented {
  secret: string
  /** Of a JWT: the resource that it is for. */
  audience?: string
}

/** The doors at which a token passes for good, asked by an administrator. */
export async function doorsOpenTo(
  oauth: OauthServer,
  { secret, audience }: Presented,
): Promise<string[]> {
  const { server } = oauth
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const [introspected, verified, userinfo] = await Promise.all([
    server.call('POST', '/oauth2/introspect', {
      headers: form,
      rawBody: new URLSearchParams({ token: secret }).toString(),
    }),
    server.call('POST', '/api/v1/tokens/verify', {
      body: { token: secret, ...(audience === undefined ? {} : { audience }) },
    }),
    server.call('GET', '/oauth2/userinfo', { token: secret }),
  ])
  for (const { status, text } of [introspected, verified]) {
    if (status !== 200) throw new Error(`A verdict was answered ${status}: ${text}`)
  }
  if (userinfo.status !== 200 && userinfo.status !== 401) {
    throw new Error(`userinfo was answered ${userinfo.status}: ${userinfo.text}`)
  }
  return [
    ...(introspected.body.active ? ['introspect'] : []),
    ...(verified.body.active ? ['verify'] : []),
    ...(userinfo.status === 200 ? ['userinfo'] : []),
  ]
}

/** Refreshes without a client library, so that the answer can be a refusal. */
export function refresh({ client, refresh: token }: Family, oauth: OauthServer) {
  return post(
    oauth,
    '/oauth2/token',
    { grant_type: 'refresh_token', refresh_token: token },
    { clientId: client.clientId, secret: client.secret },
  )
}

/** The rows of a family's tokens of one kind. */
export const rowsOf = (grantId: string, kind: string) =>
  `select id, superseded_by, revoked_at_ms from token
    where family_id = '${grantId}' and kind = '${kind}'`
