import type { Kysely } from 'kysely'
import type { KeyPurpose, KeyStore } from '../core/keys/store.ts'
import type { PolicyStore } from '../core/policy/policy.ts'
import { understoodPolicy } from '../core/policy/understood.ts'
import type { IdempotencyStore, LockoutStore } from '../core/store.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { Schema } from './schema.ts'

export function policyStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): PolicyStore {
  return {
    async load() {
      await locks.hold('policy')
      const rows = await db.selectFrom('policy').select(['name', 'value']).execute()
      return understoodPolicy(
        Object.fromEntries(rows.map(({ name, value }) => [name, JSON.parse(value)])),
      )
    },
    async save(policy, atMs) {
      for (const [name, value] of Object.entries(policy)) {
        const row = { name, value: JSON.stringify(value ?? null), updated_at_ms: atMs }
        await db
          .insertInto('policy')
          .values(row)
          .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
          .execute()
      }
    },
  }
}

export function keyStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): KeyStore {
  const keys = () => db.selectFrom('key').selectAll()
  const retired = (id: string) =>
    db.deleteFrom('key').where('id', '=', id).where('retired_at_ms', 'is not', null)
  const toKey = (row: Schema['key']) => ({
    id: row.id,
    purpose: row.purpose as KeyPurpose,
    sealed: row.sealed,
    createdAtMs: row.created_at_ms,
    retiredAtMs: row.retired_at_ms ?? undefined,
  })
  return {
    async insert(key) {
      await locks.hold('keys')
      const row = await db
        .insertInto('key')
        .values({
          id: key.id,
          purpose: key.purpose,
          sealed: key.sealed,
          created_at_ms: key.createdAtMs,
          retired_at_ms: key.retiredAtMs ?? null,
        })
        .onConflict((conflict) => conflict.doNothing())
        .returning('id')
        .executeTakeFirst()
      return row !== undefined
    },
    async all() {
      await locks.hold('keys')
      return (await keys().execute()).map(toKey)
    },
    async byId(id) {
      const row = await keys().where('id', '=', id).executeTakeFirst()
      return row === undefined ? undefined : toKey(row)
    },
    async retire({ id, sealed }, atMs) {
      const row = await db
        .updateTable('key')
        .set({ retired_at_ms: atMs })
        .where('id', '=', id)
        .where('sealed', '=', sealed)
        .where('retired_at_ms', 'is', null)
        .returning('id')
        .executeTakeFirst()
      return row !== undefined
    },
    async reseal(id, from, to) {
      const row = await db
        .updateTable('key')
        .set({ sealed: to })
        .where('id', '=', id)
        .where('sealed', '=', from)
        .returning('id')
        .executeTakeFirst()
      return row !== undefined
    },
    async remove(id) {
      const row = await retired(id).returning('id').executeTakeFirst()
      return row !== undefined
    },
    async removeUnused(id, nowMs) {
      const row = await retired(id)
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom('client')
                .select('client.id')
                .where('secret_pepper_id', '=', id)
                .where('deleted_at_ms', 'is', null),
            ),
          ),
        )
        // A spent token counts until it expires: presented again, it must be recognised.
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom('token')
                .select('token.id')
                .where('pepper_id', '=', id)
                .where('revoked_at_ms', 'is', null)
                .where('expires_at_ms', 'is', null),
            ),
          ),
        )
        .where(({ not, exists, selectFrom }) =>
          not(
            exists(
              selectFrom('token')
                .select('token.id')
                .where('pepper_id', '=', id)
                .where('revoked_at_ms', 'is', null)
                .where('expires_at_ms', '>', nowMs),
            ),
          ),
        )
        .returning('id')
        .executeTakeFirst()
      return row !== undefined
    },
    async purge(purpose, createdBeforeMs) {
      await db
        .deleteFrom('key')
        .where('purpose', '=', purpose)
        .where('created_at_ms', '<', createdBeforeMs)
        .execute()
    },
  }
}

export function idempotencyStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): IdempotencyStore {
  return {
    async find(scope, keyDigest) {
      await locks.hold(`once:${scope}:${keyDigest}`)
      const row = await db
        .selectFrom('idempotency')
        .selectAll()
        .where('scope', '=', scope)
        .where('key_digest', '=', keyDigest)
        .executeTakeFirst()
      if (row === undefined) return undefined
      return {
        scope: row.scope,
        keyDigest: row.key_digest,
        requestDigest: row.request_digest,
        sealed: row.sealed,
        expiresAtMs: row.expires_at_ms,
      }
    },
    async put(entry) {
      const row = {
        scope: entry.scope,
        key_digest: entry.keyDigest,
        request_digest: entry.requestDigest,
        sealed: entry.sealed,
        expires_at_ms: entry.expiresAtMs,
      }
      await db
        .insertInto('idempotency')
        .values(row)
        .onConflict((conflict) => conflict.columns(['scope', 'key_digest']).doUpdateSet(row))
        .execute()
    },
    async purge(nowMs) {
      await db.deleteFrom('idempotency').where('expires_at_ms', '<=', nowMs).execute()
    },
  }
}

export function lockoutStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): LockoutStore {
  return {
    async get(account) {
      const [, row] = await Promise.all([
        locks.hold(`lockout:${account}`),
        db
          .selectFrom('lockout')
          .select(['failures', 'locked_until_ms', 'at_ms'])
          .where('account', '=', account)
          .executeTakeFirst(),
      ])
      if (row === undefined) return undefined
      return {
        failures: row.failures,
        lockedUntilMs: row.locked_until_ms ?? undefined,
        atMs: row.at_ms,
      }
    },
    async put(account, { failures, lockedUntilMs }, atMs) {
      const row = { account, failures, locked_until_ms: lockedUntilMs ?? null, at_ms: atMs }
      await db
        .insertInto('lockout')
        .values(row)
        .onConflict((conflict) => conflict.column('account').doUpdateSet(row))
        .execute()
    },
    async clear(account) {
      await db.deleteFrom('lockout').where('account', '=', account).execute()
    },
    async purge(olderThanMs) {
      await db.deleteFrom('lockout').where('at_ms', '<', olderThanMs).execute()
    },
  }
}
