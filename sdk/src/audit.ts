import type { CallOptions, Send } from './http.ts'
import { everyItem } from './pages.ts'
import type { AuditCheckpoints, AuditEvent, AuditQuery, Page } from './types.ts'

/** Who did what, when. */
export function audit(send: Send) {
  const list = (query: AuditQuery = {}, options: CallOptions = {}): Promise<Page<AuditEvent>> =>
    send({ method: 'GET', path: '/audit', query, repeatable: true, ...options })

  return {
    /** One page, newest first. */
    list,

    /** All events that fit, newest first, fetched page by page. */
    listAll(query: AuditQuery = {}, options: CallOptions = {}): AsyncGenerator<AuditEvent> {
      return everyItem((page: AuditQuery) => list(page, options), query)
    },

    /** Signed statements of how far the trail reached, oldest first. */
    checkpoints(options: CallOptions = {}): Promise<AuditCheckpoints> {
      return send({ method: 'GET', path: '/audit/checkpoints', repeatable: true, ...options })
    },
  }
}
