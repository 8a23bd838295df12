import type { CallOptions, Send } from './http.ts'
import type { Node } from './types.ts'

/** The servers that share the database. */
export function nodes(send: Send) {
  return {
    /** All of them, those gone within a day included. */
    async list(options: CallOptions = {}): Promise<Node[]> {
      const answer = await send<{ items: Node[] }>({
        method: 'GET',
        path: '/nodes',
        repeatable: true,
        ...options,
      })
      return answer.items
    },
  }
}
