import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { mustBeAllowed } from '../../core/access.ts'
import { callerOf, guard } from '../../http/auth.ts'
import { bearerCredential } from '../../http/credential.ts'
import { answerErrors } from '../../http/errors.ts'
import type { ApiParts } from '../../http/parts.ts'
import { accessTokens } from './access-token.ts'
import { s7Errors } from './errors.ts'
import { PREFIXES } from './prefixes.ts'
import { groupRoutes } from './routes-groups.ts'
import { healthRoutes } from './routes-health.ts'
import { refreshTokenRoutes } from './routes-refresh-tokens.ts'
import { selfRoutes } from './routes-self.ts'
import { signInRoutes } from './routes-sign-in.ts'
import { userRoutes } from './routes-users.ts'
import { sealedCookie } from './sealed-cookie.ts'
import { upstreamProvider } from './upstream.ts'

/** The wire API of the S7 auth service. */
export async function registerS7(app: FastifyInstance, parts: ApiParts): Promise<void> {
  const { core, jwts, config } = parts
  const shared = {
    ...parts,
    mint: accessTokens({ jwts, clock: core.clock }),
    upstream: upstreamProvider(config.upstream),
    cookieSession: sealedCookie({ core, publicUrl: config.publicUrl, name: 'mintmark-s7-session' }),
  }
  for (const prefix of PREFIXES) {
    await app.register(
      async (scope) => {
        answerErrors(scope, s7Errors)
        await scope.register(async (guarded) => {
          guard(guarded, { core, jwts, credential: bearerCredential, via: 's7' })
          const typed = guarded.withTypeProvider<TypeBoxTypeProvider>()
          healthRoutes(typed, shared)
          selfRoutes(typed, shared)
          signInRoutes(typed, shared)
          await guarded.register(async (admin) => registerAdmin(admin, shared))
        })
      },
      { prefix },
    )
  }
}

/** For administrators alone, to look and to change; what a READ_ONLY one may change, core decides. */
function registerAdmin(
  app: FastifyInstance,
  parts: Parameters<typeof refreshTokenRoutes>[1],
): void {
  app.addHook('onRequest', async (request) => {
    const policy = parts.core.policy()
    const { principal } = callerOf(request)
    mustBeAllowed(principal, 'administration.read', { what: undefined, policy })
  })
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  userRoutes(typed, parts)
  groupRoutes(typed, parts)
  refreshTokenRoutes(typed, parts)
}
