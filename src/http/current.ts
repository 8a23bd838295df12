import type { FastifyInstance } from 'fastify'
import type { Core } from '../core/core.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered whether or not the node has the database: probes, figures, the reference. */
    answersCutOff?: boolean
  }
}

/**
 * Keeps every door shut while what this node remembers may be old: users, clients, policy and keys are
 * remembered like verdicts.
 */
export function onlyWhileCurrent(app: FastifyInstance, core: Core): void {
  app.addHook('onRequest', (request, _, done) => {
    if (core.isCurrent() || request.routeOptions.config.answersCutOff === true) done()
    else core.catchUp().then(() => done(), done)
  })
}
