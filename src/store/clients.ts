import type { Kysely, Selectable, SelectQueryBuilder } from 'kysely'
import type {
  Client,
  ClientType,
  GrantType,
  SigningAlgorithm,
  SubjectMode,
} from '../core/clients/client.ts'
import type { ClientFilter, ClientStore, NewClient } from '../core/clients/store.ts'
import type { ClientId, UserId } from '../core/id.ts'
import type { SecretDigest } from '../core/secret.ts'
import { nameKey } from '../core/text.ts'
import { nextSerial } from './counter.ts'
import { containsKey, containsText, pageRows } from './keyset.ts'
import { type Locks, makerLock, NO_LOCKS } from './locks.ts'
import type { ClientTable, Schema } from './schema.ts'
import { orNameTaken } from './unique.ts'

function toClient(row: Selectable<ClientTable>): Client {
  const list = <T = string>(json: string) => JSON.parse(json) as T[]
  return {
    id: row.id as ClientId,
    serial: row.serial,
    clientId: row.client_id,
    name: row.name,
    type: row.type as ClientType,
    secretPreview: row.secret_preview ?? undefined,
    jwks: row.jwks === null ? undefined : (JSON.parse(row.jwks) as Client['jwks']),
    redirectUris: list(row.redirect_uris),
    postLogoutRedirectUris: list(row.post_logout_redirect_uris),
    grants: list<GrantType>(row.grants),
    scopes: list(row.scopes),
    resources: list(row.resources),
    serves: list(row.serves),
    codeTtl: row.code_ttl,
    accessTokenTtl: row.access_token_ttl,
    refreshTokenTtl: row.refresh_token_ttl,
    subjectMode: row.subject_mode as SubjectMode,
    signingAlgorithm: row.signing_algorithm as SigningAlgorithm,
    requirePkce: row.require_pkce === 1,
    applicationSlug: row.application_slug ?? undefined,
    applicationName: row.application_name ?? undefined,
    serviceUserId: row.service_user_id as UserId,
    active: row.active === 1,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}

/** The columns that an update may change. */
function changeable(client: Omit<Client, 'serial'>) {
  return {
    name: client.name,
    name_key: nameKey(client.name),
    type: client.type,
    jwks: client.jwks === undefined ? null : JSON.stringify(client.jwks),
    redirect_uris: JSON.stringify(client.redirectUris),
    post_logout_redirect_uris: JSON.stringify(client.postLogoutRedirectUris),
    grants: JSON.stringify(client.grants),
    scopes: JSON.stringify(client.scopes),
    resources: JSON.stringify(client.resources),
    serves: JSON.stringify(client.serves),
    code_ttl: client.codeTtl,
    access_token_ttl: client.accessTokenTtl,
    refresh_token_ttl: client.refreshTokenTtl,
    subject_mode: client.subjectMode,
    signing_algorithm: client.signingAlgorithm,
    require_pkce: client.requirePkce ? 1 : 0,
    application_slug: client.applicationSlug ?? null,
    application_name: client.applicationName ?? null,
    active: client.active ? 1 : 0,
    updated_at_ms: client.updatedAtMs,
  }
}

function toRow(client: NewClient, serial: number): ClientTable {
  return {
    id: client.id,
    serial,
    client_id: client.clientId,
    secret_digest: client.secret?.digest ?? null,
    secret_pepper_id: client.secret?.pepperId ?? null,
    secret_preview: client.secretPreview ?? null,
    service_user_id: client.serviceUserId,
    created_at_ms: client.createdAtMs,
    deleted_at_ms: null,
    ...changeable(client),
  }
}

export function clientStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): ClientStore {
  const live = () => db.selectFrom('client').selectAll().where('deleted_at_ms', 'is', null)
  const seen = async (query: SelectQueryBuilder<Schema, 'client', Selectable<ClientTable>>) => {
    const row = await query.executeTakeFirst()
    return row === undefined ? undefined : toClient(row)
  }
  const one: typeof seen = async (query) => {
    if (locks.shared) {
      const client = await seen(query)
      if (client !== undefined) await locks.hold(makerLock(client.id))
    }
    return seen(locks.rows(query))
  }

  function filtered({ active, text }: ClientFilter) {
    let query = live()
    if (active !== undefined) query = query.where('active', '=', active ? 1 : 0)
    if (text === undefined) return query
    return query.where((eb) =>
      eb.or([
        containsKey('name_key', text),
        containsText('client_id', text),
        containsText('application_name', text),
      ]),
    )
  }

  return {
    async insert(client) {
      const row = toRow(client, await nextSerial(db, 'client'))
      await orNameTaken(
        db.insertInto('client').values(row).execute(),
        'A client with this client id exists. Choose another.',
      )
      return toClient(row)
    },
    byId: (id) => one(live().where('id', '=', id)),
    glance: (id) => seen(live().where('id', '=', id)),
    byClientId: (clientId) => one(live().where('client_id', '=', clientId)),
    bySerial: (serial) => one(live().where('serial', '=', serial)),
    byServiceUser: (id) => seen(live().where('service_user_id', '=', id)),
    async secretOf(id) {
      const row = await db
        .selectFrom('client')
        .select(['secret_digest', 'secret_pepper_id'])
        .where('id', '=', id)
        .where('deleted_at_ms', 'is', null)
        .executeTakeFirst()
      if (row === undefined || row.secret_digest === null || row.secret_pepper_id === null) {
        return undefined
      }
      return { digest: row.secret_digest as SecretDigest, pepperId: row.secret_pepper_id }
    },
    async list(filter, from, size) {
      const query = filtered(filter)
      return (await pageRows(query, from, size)).map(toClient)
    },
    async all() {
      return (await live().orderBy('serial').execute()).map(toClient)
    },
    async byIds(ids) {
      if (ids.length === 0) return []
      const rows = await db.selectFrom('client').selectAll().where('id', 'in', ids).execute()
      return rows.map(toClient)
    },
    async update(client) {
      await db.updateTable('client').set(changeable(client)).where('id', '=', client.id).execute()
    },
    async setSecret(id, secret, { preview, atMs }) {
      await db
        .updateTable('client')
        .set({
          secret_digest: secret?.digest ?? null,
          secret_pepper_id: secret?.pepperId ?? null,
          secret_preview: preview ?? null,
          updated_at_ms: atMs,
        })
        .where('id', '=', id)
        .execute()
    },
    async remove(id, atMs) {
      await db
        .updateTable('client')
        .set({
          deleted_at_ms: atMs,
          updated_at_ms: atMs,
          active: 0,
          secret_digest: null,
          secret_pepper_id: null,
        })
        .where('id', '=', id)
        .execute()
    },
  }
}
