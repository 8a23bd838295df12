import type { ClientId, UserId } from '../id.ts'
import type { Position } from '../page.ts'
import type { SecretDigest } from '../secret.ts'
import type { Client } from './client.ts'

/** A client's secret as it is stored. */
export interface StoredSecret {
  digest: SecretDigest
  pepperId: string
}

/** A client about to be saved; the store gives the serial. */
export type NewClient = Omit<Client, 'serial'> & { secret: StoredSecret | undefined }

export interface ClientFilter {
  active?: boolean
  /** Part of the name, client id or application name, caseless. */
  text?: string
}

/** What the domain needs saved about clients. Deleted ones are found by none of these but `labels`. */
export interface ClientStore {
  /** Throws `name_taken` when the client id is in use. */
  insert(client: NewClient): Promise<Client>
  byId(id: ClientId): Promise<Client | undefined>
  /** The same, but others may change the client meanwhile, unless it is held; see `TokenStore.hold`. */
  glance(id: ClientId): Promise<Client | undefined>
  byClientId(clientId: string): Promise<Client | undefined>
  bySerial(serial: number): Promise<Client | undefined>
  /** The client whose service account that is; others may change it meanwhile. */
  byServiceUser(id: UserId): Promise<Client | undefined>
  secretOf(id: ClientId): Promise<StoredSecret | undefined>
  /** Newest first; `size` rows at most. */
  list(filter: ClientFilter, from: Position | undefined, size: number): Promise<Client[]>
  /** Every client that is not deleted. */
  all(): Promise<Client[]>
  /** The ones with these ids, deleted ones too. */
  byIds(ids: ClientId[]): Promise<Client[]>
  update(client: Client): Promise<void>
  setSecret(
    id: ClientId,
    secret: StoredSecret | undefined,
    to: { preview: string | undefined; atMs: number },
  ): Promise<void>
  /** Keeps the row, because audit and old tokens point at it, and frees the client id. */
  remove(id: ClientId, atMs: number): Promise<void>
}
