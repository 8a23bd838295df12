import type { CallOptions, Send } from './http.ts'
import type { Policy } from './types.ts'

/** What the organisation decided. */
export function policy(send: Send) {
  return {
    get(options: CallOptions = {}): Promise<Policy> {
      return send({ method: 'GET', path: '/policy', repeatable: true, ...options })
    },

    /** Changes what is named; null takes an optional limit away. */
    update(edit: Partial<Policy>, options: CallOptions = {}): Promise<Policy> {
      return send({ method: 'PATCH', path: '/policy', body: edit, ...options })
    },
  }
}
