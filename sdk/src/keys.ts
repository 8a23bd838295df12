import type { CallOptions, ChangeOptions, Send } from './http.ts'
import type { Key, RotatableKeys } from './types.ts'

/** What may be known of the server's keys, never the keys themselves. */
export function keys(send: Send) {
  return {
    /** All of them, current ones first. */
    async list(options: CallOptions = {}): Promise<Key[]> {
      const answer = await send<{ items: Key[] }>({
        method: 'GET',
        path: '/keys',
        repeatable: true,
        ...options,
      })
      return answer.items
    },

    /**
     * Replaces the keys of a purpose. The old ones verify until what was made with them is over. Returns
     * the keys of that purpose, the new ones first.
     */
    async rotate(purpose: RotatableKeys, options: ChangeOptions = {}): Promise<Key[]> {
      const answer = await send<{ items: Key[] }>({
        method: 'POST',
        path: '/keys/rotate',
        body: { purpose },
        ...options,
      })
      return answer.items
    },
  }
}
