import { type Kysely, type Selectable, type SelectQueryBuilder, sql } from 'kysely'
import type { UserId } from '../core/id.ts'
import type { Credentials, UserStore } from '../core/users/store.ts'
import type { GlobalRole, User, UserKind } from '../core/users/user.ts'
import { nextSerial } from './counter.ts'
import { containsKey, containsText, pageRows } from './keyset.ts'
import { type Locks, makerLock, NO_LOCKS } from './locks.ts'
import type { Schema, UserTable } from './schema.ts'
import { orNameTaken } from './unique.ts'

function toUser(row: Selectable<UserTable>): User {
  return {
    id: row.id as UserId,
    serial: row.serial,
    username: row.username,
    displayName: row.display_name,
    email: row.email ?? undefined,
    kind: row.kind as UserKind,
    globalRole: row.global_role as GlobalRole,
    active: row.active === 1,
    attributes: JSON.parse(row.attributes) as Record<string, unknown>,
    hasPassword: row.password_hash !== null,
    passwordIsOneTime: row.password_is_one_time === 1,
    passwordChangedAtMs: row.password_changed_at_ms ?? undefined,
    lastLoginAtMs: row.last_login_at_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}

function toCredentials(row: Selectable<UserTable>): Credentials {
  return {
    user: toUser(row),
    passwordHash: row.password_hash ?? undefined,
    passwordExpiresAtMs: row.password_expires_at_ms ?? undefined,
  }
}

const named = <T>(statement: Promise<T>) =>
  orNameTaken(statement, 'A user with this username or email exists.')

export function userStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): UserStore {
  const live = () => db.selectFrom('user').selectAll().where('deleted_at_ms', 'is', null)
  const row = async (query: SelectQueryBuilder<Schema, 'user', Selectable<UserTable>>) => {
    if (locks.shared) {
      const seen = await query.executeTakeFirst()
      if (seen !== undefined) await locks.hold(makerLock(seen.id))
    }
    return locks.rows(query).executeTakeFirst()
  }
  const one = async (query: SelectQueryBuilder<Schema, 'user', Selectable<UserTable>>) => {
    const found = await row(query)
    return found === undefined ? undefined : toUser(found)
  }

  return {
    async insert(user) {
      const row: UserTable = {
        id: user.id,
        serial: await nextSerial(db, 'user'),
        username: user.username,
        username_key: user.usernameKey,
        display_name: user.displayName,
        email: user.email ?? null,
        email_key: user.emailKey ?? null,
        kind: user.kind,
        global_role: user.globalRole,
        active: user.active ? 1 : 0,
        attributes: user.attributes,
        password_hash: null,
        password_is_one_time: 0,
        password_expires_at_ms: null,
        password_changed_at_ms: null,
        last_login_at_ms: null,
        created_at_ms: user.atMs,
        updated_at_ms: user.atMs,
        deleted_at_ms: null,
      }
      await named(db.insertInto('user').values(row).execute())
      return toUser(row)
    },
    byId: (id) => one(live().where('id', '=', id)),
    async glance(id) {
      const found = await live().where('id', '=', id).executeTakeFirst()
      return found === undefined ? undefined : toUser(found)
    },
    bySerial: (serial) => one(live().where('serial', '=', serial)),
    byUsernameKey: (key) => one(live().where('username_key', '=', key)),
    async byIds(ids) {
      if (ids.length === 0) return []
      return (await live().where('id', 'in', ids).execute()).map(toUser)
    },
    async list(filter, from, size) {
      let query = live()
      if (filter.active !== undefined) query = query.where('active', '=', filter.active ? 1 : 0)
      if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind)
      if (filter.globalRole !== undefined)
        query = query.where('global_role', '=', filter.globalRole)
      const { text } = filter
      if (text !== undefined) {
        query = query.where((eb) =>
          eb.or([
            containsKey('username_key', text),
            containsKey('email_key', text),
            containsText('display_name', text),
          ]),
        )
      }
      return (await pageRows(query, from, size)).map(toUser)
    },
    async all() {
      return (await live().orderBy('serial').execute()).map(toUser)
    },
    async update(id, to) {
      await named(
        db
          .updateTable('user')
          .set({
            display_name: to.displayName,
            email: to.email ?? null,
            email_key: to.emailKey ?? null,
            global_role: to.globalRole,
            active: to.active ? 1 : 0,
            attributes: to.attributes,
            updated_at_ms: to.atMs,
          })
          .where('id', '=', id)
          .execute(),
      )
    },
    async remove(id, atMs) {
      await db.deleteFrom('user_identity').where('user_id', '=', id).execute()
      await db
        .updateTable('user')
        .set({ deleted_at_ms: atMs, active: 0, password_hash: null, updated_at_ms: atMs })
        .where('id', '=', id)
        .execute()
    },
    async countUsableAdmins(exceptId) {
      await locks.hold('admins')
      const { count } = await db
        .selectFrom('user')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('deleted_at_ms', 'is', null)
        .where('global_role', '=', 'ADMIN')
        .where('active', '=', 1)
        .$if(exceptId !== undefined, (query) => query.where('id', '!=', exceptId ?? ''))
        .where((eb) =>
          eb.or([
            eb('password_hash', 'is not', null),
            eb('id', 'in', eb.selectFrom('user_identity').select('user_id')),
          ]),
        )
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async countAll() {
      await locks.hold('first user')
      const { count } = await db
        .selectFrom('user')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
      return Number(count)
    },
    async isNameTaken(key, exceptId) {
      // No index can tell that a username is somebody else's email.
      await locks.hold('user names')
      const row = await db
        .selectFrom('user')
        .select('id')
        .where('deleted_at_ms', 'is', null)
        .where('id', '!=', exceptId)
        .where((eb) => eb.or([eb('username_key', '=', key), eb('email_key', '=', key)]))
        .executeTakeFirst()
      return row !== undefined
    },
    async credentials(key) {
      const found =
        (await row(live().where('username_key', '=', key))) ??
        (await row(live().where('email_key', '=', key)))
      return found === undefined ? undefined : toCredentials(found)
    },
    async credentialsById(id) {
      const found = await row(live().where('id', '=', id))
      return found === undefined ? undefined : toCredentials(found)
    },
    async heldCredentials(id) {
      const [, found] = await Promise.all([
        locks.share(makerLock(id)),
        locks.still(live().where('id', '=', id)).executeTakeFirst(),
      ])
      return found === undefined ? undefined : toCredentials(found)
    },
    async setPassword(id, change) {
      await db
        .updateTable('user')
        .set({
          password_hash: change.hash,
          password_is_one_time: change.isOneTime ? 1 : 0,
          password_expires_at_ms: change.expiresAtMs ?? null,
          password_changed_at_ms: change.atMs,
          updated_at_ms: change.atMs,
        })
        .where('id', '=', id)
        .execute()
    },
    async rehash(id, from, to) {
      await db
        .updateTable('user')
        .set({ password_hash: to })
        .where('id', '=', id)
        .where('password_hash', '=', from)
        .execute()
    },
    async recordLogin(id, atMs) {
      const { rows } = await sql`update "user"
        set last_login_at_ms = case when last_login_at_ms > ${atMs} then last_login_at_ms else ${atMs} end
        where id in (select id from "user" where id = ${id}
          ${locks.shared ? sql`for no key update skip locked` : sql``})
        returning id`.execute(db)
      return rows.length > 0
    },
    byIdentity: (issuer, subject) =>
      one(
        live().where('id', 'in', (eb) =>
          eb
            .selectFrom('user_identity')
            .select('user_id')
            .where('issuer', '=', issuer)
            .where('subject', '=', subject),
        ),
      ),
    async linkIdentity(id, issuer, subject, atMs) {
      await db
        .insertInto('user_identity')
        .values({ issuer, subject, user_id: id, created_at_ms: atMs })
        .execute()
    },
    async hasIdentity(id) {
      const row = await db
        .selectFrom('user_identity')
        .select('user_id')
        .where('user_id', '=', id)
        .executeTakeFirst()
      return row !== undefined
    },
  }
}
