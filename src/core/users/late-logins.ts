import type { UserId } from '../id.ts'
import type { Store } from '../store.ts'

/**
 * Logins that could not be noted with their sessions, because the user's row was held at that moment, as
 * it is whenever tokens are made in the user's name: nobody should wait for that to log in. They are
 * written with the last uses of tokens.
 */
export interface LateLogins {
  note(id: UserId, atMs: number): void
  flush(): Promise<void>
}

export function lateLogins(store: Pick<Store, 'transaction'>): LateLogins {
  const late = new Map<UserId, number>()
  return {
    note: (id, atMs) => void late.set(id, atMs),
    async flush() {
      for (const [id, atMs] of [...late]) {
        const isDone = await store.transaction((tx) => tx.users.recordLogin(id, atMs))
        if (isDone && late.get(id) === atMs) late.delete(id)
      }
    },
  }
}
