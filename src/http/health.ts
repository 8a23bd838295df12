import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Core } from '../core/core.ts'

/** A database that takes longer to answer nothing at all is of no use, and a probe must not hang with it. */
const PING_PATIENCE_MS = 2000

/** What a probe needs to know about the process. */
export interface Health {
  /** Set as soon as a shutdown begins, so that load balancers look elsewhere first. */
  draining: boolean
  /** Set while more connections are open than there should be. */
  isCrowded: boolean
  /** Requests that are not answered yet. */
  underWay: number
  isReady(): Promise<boolean>
}

export function createHealth(core: Core): Health {
  const health: Health = {
    draining: false,
    isCrowded: false,
    underWay: 0,
    async isReady() {
      if (health.draining) return false
      try {
        const answered = askDatabase(core)
        return await Promise.race([answered, sleep(PING_PATIENCE_MS, false, { ref: false })])
      } catch {
        return false
      }
    },
  }
  return health
}

/**
 * The lease knows of a database that is away before a question to it has failed; what another process of this
 * machine has changed just now is taken in first, as before every answer.
 */
async function askDatabase(core: Core): Promise<true> {
  if (!core.isCurrent()) await core.catchUp()
  await core.ping()
  return true
}

/** Liveness: the process answers. Readiness: the store can be used, and no shutdown is under way. */
export function registerHealth(app: FastifyInstance, health: Health): void {
  const open = { config: { public: true, answersCutOff: true, weight: 'vital' } } as const
  app.get('/health/live', open, async () => ({ status: 'live' }))
  app.get('/health/ready', open, async (_, reply) => {
    const ready = await health.isReady()
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready' })
  })
}

/** Counts requests under way, and sends clients away with each answer once a shutdown has begun. */
export function followDraining(app: FastifyInstance, health: Health): void {
  app.addHook('onRequest', (_request, reply, done) => {
    health.underWay++
    // Also when the client leaves before it was answered, of which no hook tells in every case.
    reply.raw.once('close', () => {
      health.underWay--
    })
    done()
  })
  app.addHook('onSend', (_, reply, payload, done) => {
    if (health.draining) reply.header('connection', 'close')
    done(null, payload)
  })
}
