import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { offerWait } from '../acknowledge.ts'
import { guard } from '../auth.ts'
import { bearerCredential } from '../credential.ts'
import { answerErrors, problemDocument } from '../errors.ts'
import type { ApiParts } from '../parts.ts'
import { auditRoutes } from './audit.ts'
import { childRoutes } from './children.ts'
import { clientRoutes } from './clients.ts'
import { eventRoutes } from './events.ts'
import { explainRoutes } from './explain.ts'
import { grantRoutes } from './grants.ts'
import { groupRoutes } from './groups.ts'
import { importRoutes } from './imports.ts'
import { inventoryRoutes } from './inventory.ts'
import { jobRoutes } from './jobs.ts'
import { keyRoutes } from './keys.ts'
import { leakRoutes } from './leaks.ts'
import { nodeRoutes } from './nodes.ts'
import { policyRoutes } from './policy.ts'
import { policyTestRoute } from './policy-test.ts'
import { revocationRoutes } from './revocations.ts'
import { roleRoutes } from './roles.ts'
import { rotationRoutes } from './rotation.ts'
import { sessionRoutes } from './session.ts'
import { tokenRoutes } from './tokens.ts'
import { useRoutes } from './use.ts'
import { userRoutes } from './users.ts'
import { verifyRoutes } from './verify.ts'
import { webhookRoutes } from './webhooks.ts'

/** Our own REST API, `/api/v1`: the whole product. */
export async function registerApi(app: FastifyInstance, parts: ApiParts): Promise<void> {
  guard(app, { core: parts.core, jwts: parts.jwts, credential: bearerCredential, via: 'api' })
  answerErrors(app, problemDocument)
  // Who reports a leak must not learn from the answer whether anything changed.
  offerWait(app, { except: /\/(verify|verify::batch|explain|login|leaks|leaks\/github)$/ })
  const scope = app.withTypeProvider<TypeBoxTypeProvider>()
  sessionRoutes(scope, parts)
  tokenRoutes(scope, parts)
  inventoryRoutes(scope, parts)
  jobRoutes(scope, parts)
  childRoutes(scope, parts)
  revocationRoutes(scope, parts)
  importRoutes(scope, parts)
  rotationRoutes(scope, parts)
  useRoutes(scope, parts)
  verifyRoutes(scope, parts)
  explainRoutes(scope, parts)
  userRoutes(scope, parts)
  groupRoutes(scope, parts)
  roleRoutes(scope, parts)
  clientRoutes(scope, parts)
  grantRoutes(scope, parts)
  policyRoutes(scope, parts)
  policyTestRoute(scope, parts)
  keyRoutes(scope, parts)
  nodeRoutes(scope, parts)
  auditRoutes(scope, parts)
  eventRoutes(scope, parts)
  webhookRoutes(scope, parts)
  leakRoutes(scope, parts)
}
