import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { guard } from '../../http/auth.ts'
import { bearerCredential } from '../../http/credential.ts'
import { answerErrors } from '../../http/errors.ts'
import type { ApiParts } from '../../http/parts.ts'
import { opalErrors } from './errors.ts'
import { tokenRoutes } from './routes.ts'

/** Opal Security, below `/v1`: the organisation's API tokens, listed and revoked. */
export async function registerOpal(app: FastifyInstance, parts: ApiParts): Promise<void> {
  const { core, jwts } = parts
  guard(app, { core, jwts, credential: bearerCredential, via: 'opal' })
  answerErrors(app, opalErrors)
  tokenRoutes(app.withTypeProvider<TypeBoxTypeProvider>(), parts)
}
