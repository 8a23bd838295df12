import type { FastifyInstance } from 'fastify'
import type { TokenJwts } from './token-jwt.ts'

/** The public keys of signed tokens and of the revocation feed (RFC 7517). */
export function registerWellKnown(app: FastifyInstance, tokenJwts: TokenJwts): void {
  app.get('/.well-known/mintmark/jwks.json', { config: { public: true } }, async (_, reply) =>
    reply.header('cache-control', 'public, max-age=60').send(tokenJwts.jwks()),
  )
}
