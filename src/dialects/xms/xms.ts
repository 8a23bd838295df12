import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { guard } from '../../http/auth.ts'
import { answerErrors } from '../../http/errors.ts'
import type { ApiParts } from '../../http/parts.ts'
import { xmsCredential } from './credential.ts'
import { xmsErrors } from './errors.ts'
import { accessTokenRoutes } from './routes-access-tokens.ts'
import { authRoutes } from './routes-auth.ts'

/** XSKY XMS, below `/v1`: access tokens and the sessions that guard them. */
export async function registerXms(app: FastifyInstance, parts: ApiParts): Promise<void> {
  const { core, jwts, config } = parts
  const credential = xmsCredential({ queryToken: config.xmsQueryToken })
  guard(app, { core, jwts, credential, via: 'xms' })
  answerErrors(app, xmsErrors)
  const scope = app.withTypeProvider<TypeBoxTypeProvider>()
  accessTokenRoutes(scope, parts)
  authRoutes(scope, parts)
}
