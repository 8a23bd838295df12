import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Client } from '../core/clients/client.ts'
import type { Core } from '../core/core.ts'
import type { Token } from '../core/tokens/token.ts'
import { looksLikeJwt } from '../http/access-jwt.ts'
import { type AcknowledgeParts, acknowledgementOf } from '../http/acknowledge.ts'
import { originOf, type TokenReader } from '../http/auth.ts'
import { authenticateClient } from './client-auth.ts'
import { onlyPost, refuseClient } from './client-doors.ts'
import { formOf } from './form.ts'
import { ROUTES } from './routes.ts'

/**
 * Token revocation (RFC 7009) by the client that a token was given to: a refresh token goes with all
 * that came of its grant, an access token alone. When 200 is answered, it is dead and stays so.
 */
export function revocationRoute(
  app: FastifyInstance,
  { core, jwts, issuer, config }: TokenReader & AcknowledgeParts & { issuer: string },
): void {
  const audiences = [issuer, `${issuer}${ROUTES.token}`, `${issuer}${ROUTES.revocation}`]

  onlyPost(app, ROUTES.revocation)
  app.options(ROUTES.revocation, { config: { public: true } }, async ({ headers }, reply) =>
    reply
      .header('access-control-allow-origin', headers.origin ?? '*')
      .header('access-control-allow-methods', 'POST')
      .header('access-control-allow-headers', 'authorization, content-type')
      .header('vary', 'Origin')
      .code(204)
      .send(),
  )
  app.post(
    ROUTES.revocation,
    { config: { public: true, weight: 'vital' } },
    async (request, reply) => {
      const verdict = await authenticateClient(request, { core, audiences, acceptsPublic: true })
      if ('refused' in verdict) return refuseClient(request, reply, verdict.refused)
      letRead(reply, { origin: request.headers.origin, client: verdict.client })
      const presented = formOf(request).get('token')
      if (presented === undefined || presented === '') {
        return refuseClient(request, reply, 'invalid_request')
      }
      // What nobody knows is as good as revoked (section 2.2); so is what was, should a retry find it.
      const token = await tokenOf(presented, { core, jwts })
      if (token?.oauth === undefined) return reply.code(200).send()
      if (token.oauth.clientId !== verdict.client.id) {
        return refuseClient(request, reply, 'unauthorized_client')
      }
      await core.oauth.revokeForClient({ origin: originOf(request, 'oauth'), token })
      // Also when a request whose answer was lost has revoked it before.
      await acknowledgementOf(request, { core, config })
      return reply.code(200).send()
    },
  )
}

/** A client that runs in a browser may read the answer where it is registered, as at the engine's doors. */
function letRead(
  reply: FastifyReply,
  { origin, client }: { origin: string | undefined; client: Client },
): void {
  const isItsOwn = client.redirectUris.some((uri) => URL.parse(uri)?.origin === origin)
  if (origin === undefined || origin === 'null' || !isItsOwn) return
  reply.header('access-control-allow-origin', origin).header('vary', 'Origin')
}

/** Finds spent and expired ones, too: their families may be alive. */
async function tokenOf(presented: string, { core, jwts }: TokenReader): Promise<Token | undefined> {
  if (looksLikeJwt(presented)) return ofJwt(presented, { core, jwts })
  for (const kind of ['oauth_refresh', 'oauth_access'] as const) {
    const found = await core.oauth.findToken(presented, kind)
    if (found !== undefined) return found.token
  }
  return undefined
}

async function ofJwt(jwt: string, { core, jwts }: TokenReader): Promise<Token | undefined> {
  const source = await jwts.sourceOf(jwt)
  return source === undefined || source.isDerived ? undefined : tokenById(core, source.id)
}

function tokenById(core: Core, id: Token['id']): Promise<Token | undefined> {
  return core.oauth.tokenById(id)
}
