import { CoreError } from '../../core/errors.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { failures, NoBody } from './wire.ts'

/** Probes; their clients ignore the body, so there is none. */
export function healthRoutes(app: Scope, { health }: Pick<ApiParts, 'health'>): void {
  const options = {
    config: { public: true, weight: 'vital' },
    schema: { response: { 200: NoBody, ...failures } },
  } as const
  app.get('/health/liveness', options, async (_, reply) => reply.code(200).send(undefined))
  app.get('/health/readiness', options, async (_, reply) => {
    if (!(await health.isReady())) throw new CoreError('unavailable', 'The server is not ready.')
    return reply.code(200).send(undefined)
  })
}
