import type { FastifyInstance } from 'fastify'
import { guard } from '../auth.ts'
import { bearerCredential } from '../credential.ts'
import { answerErrors, problemDocument } from '../errors.ts'
import type { ApiParts } from '../parts.ts'

/** Our own REST API, `/api/v1`: the whole product. */
export async function registerApi(app: FastifyInstance, parts: ApiParts): Promise<void> {
  guard(app, { core: parts.core, jwts: parts.jwts, credential: bearerCredential, via: 'api' })
  answerErrors(app, problemDocument)
}
