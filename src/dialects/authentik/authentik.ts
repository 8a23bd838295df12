import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { guard } from '../../http/auth.ts'
import { answerErrors } from '../../http/errors.ts'
import type { ApiParts } from '../../http/parts.ts'
import { authentikCredential } from './credential.ts'
import { authentikErrors } from './errors.ts'
import { answerUnrouted } from './methods.ts'
import { grantRoutes } from './routes.ts'

/** authentik 2024.8.1, below `/api/v3`: OAuth2 refresh tokens, access tokens and codes. */
export async function registerAuthentik(app: FastifyInstance, parts: ApiParts): Promise<void> {
  const { core, jwts } = parts
  guard(app, { core, jwts, credential: authentikCredential, via: 'authentik' })
  answerErrors(app, authentikErrors)
  answerUnrouted(app)
  spellJsonPlainly(app)
  grantRoutes(app.withTypeProvider<TypeBoxTypeProvider>(), parts)
}

/** `application/json` without a charset, as Django REST framework says it. */
function spellJsonPlainly(app: FastifyInstance): void {
  app.addHook('onSend', (_, reply, payload, done) => {
    const type = reply.getHeader('content-type')
    if (String(type).startsWith('application/json'))
      reply.header('content-type', 'application/json')
    done(null, payload)
  })
}
