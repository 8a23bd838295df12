import type { FastifyInstance } from 'fastify'
import type { Core } from '../core/core.ts'

/** What a probe needs to know about the process. */
export interface Health {
  /** Set as soon as a shutdown begins, so that load balancers look elsewhere first. */
  draining: boolean
  isReady(): Promise<boolean>
}

export function createHealth(core: Core): Health {
  const health: Health = {
    draining: false,
    async isReady() {
      if (health.draining) return false
      try {
        await core.ping()
        return true
      } catch {
        return false
      }
    },
  }
  return health
}

/** Liveness: the process answers. Readiness: the store can be used, and no shutdown is under way. */
export function registerHealth(app: FastifyInstance, health: Health): void {
  const open = { config: { public: true } }
  app.get('/health/live', open, async () => ({ status: 'live' }))
  app.get('/health/ready', open, async (_, reply) => {
    const ready = await health.isReady()
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready' })
  })
}
