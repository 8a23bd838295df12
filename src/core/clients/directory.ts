import { timingSafeEqual } from 'node:crypto'
import type { ClientId } from '../id.ts'
import type { Keyring } from '../keys/keyring.ts'
import { digestOf } from '../secret.ts'
import { ANY, type Change, type Store } from '../store.ts'
import type { Client } from './client.ts'
import type { StoredSecret } from './store.ts'

const MAX_ENTRIES = 10_000

/** Clients for the paths that are walked often, from memory. It holds no secrets, only their digests. */
export interface ClientDirectory {
  /** By what OAuth calls `client_id`. Disabled clients are found, too: look at `active`. */
  byClientId(clientId: string): Promise<Client | undefined>
  byId(id: ClientId): Promise<Client | undefined>
  /**
   * Whether this is the secret that the client has now. False for a client without one, a disabled
   * one and for none at all, after the same work, so that time does not tell which it was.
   */
  secretMatches(client: Client | undefined, secret: string): Promise<boolean>
  /** The same as far as it is remembered. */
  rememberedById(id: ClientId): Client | undefined
  /**
   * The client that this is the secret of, as far as it is remembered; undefined says nothing, and
   * `secretMatches` is to be asked.
   */
  remembered(clientId: string, secret: string): Client | undefined
}

interface Entry {
  client: Client
  secret: StoredSecret | undefined
}

/** Reads clients on demand, and forgets each with the change that touches it. */
export function clientDirectory({
  store,
  keyring,
  maxEntries = MAX_ENTRIES,
}: {
  store: Pick<Store, 'clients' | 'onChange'>
  keyring: Pick<Keyring, 'pepper' | 'peppers'>
  maxEntries?: number
}): ClientDirectory {
  const entries = new Map<ClientId, Entry>()
  const ids = new Map<string, ClientId>()
  let epoch = 0

  function forget(id: ClientId): void {
    const entry = entries.get(id)
    if (entry === undefined) return
    entries.delete(id)
    if (ids.get(entry.client.clientId) === id) ids.delete(entry.client.clientId)
  }

  function apply(changes: readonly Change[]): void {
    const touched = changes.filter(({ subject }) => subject === 'client')
    if (touched.length === 0) return
    epoch++
    for (const { id } of touched) {
      if (id !== ANY) {
        forget(id as ClientId)
        continue
      }
      entries.clear()
      ids.clear()
    }
  }

  /** Keeps what was read, unless a client changed meanwhile: then it may be the old one. */
  function keep(entry: Entry, readAt: number): void {
    if (readAt !== epoch) return
    forget(entry.client.id)
    const [oldest] = entries.keys()
    if (entries.size >= maxEntries && oldest !== undefined) forget(oldest)
    entries.set(entry.client.id, entry)
    ids.set(entry.client.clientId, entry.client.id)
  }

  async function read(find: () => Promise<Client | undefined>): Promise<Entry | undefined> {
    const readAt = epoch
    const client = await find()
    if (client === undefined) return undefined
    const entry = { client, secret: await store.clients.secretOf(client.id) }
    keep(entry, readAt)
    return entry
  }

  const entryOf = async (id: ClientId) =>
    entries.get(id) ?? (await read(() => store.clients.byId(id)))

  function isSecretOf(entry: Entry | undefined, secret: string): boolean {
    const stored = entry?.secret
    const pepper = keyring.peppers().find(({ id }) => id === stored?.pepperId)
    const digest = Buffer.from(digestOf(secret, pepper ?? keyring.pepper()))
    const expected = Buffer.from(stored?.digest ?? '')
    const known = pepper !== undefined && expected.length === digest.length
    // Compared with itself where there is nothing to compare with.
    return (
      timingSafeEqual(digest, known ? expected : digest) && known && entry?.client.active === true
    )
  }

  store.onChange(apply)

  return {
    async byClientId(clientId) {
      const id = ids.get(clientId)
      const known = id === undefined ? undefined : entries.get(id)
      const entry = known ?? (await read(() => store.clients.byClientId(clientId)))
      return entry?.client
    },
    byId: async (id) => (await entryOf(id))?.client,
    async secretMatches(client, secret) {
      return isSecretOf(client === undefined ? undefined : await entryOf(client.id), secret)
    },
    rememberedById: (id) => entries.get(id)?.client,
    remembered(clientId, secret) {
      const id = ids.get(clientId)
      const entry = id === undefined ? undefined : entries.get(id)
      return entry !== undefined && isSecretOf(entry, secret) ? entry.client : undefined
    },
  }
}
