import type { Kysely, Selectable } from 'kysely'
import type { Role } from '../core/roles/role.ts'
import type { RoleStore } from '../core/roles/store.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { Schema } from './schema.ts'
import { orNameTaken } from './unique.ts'

function toRole(row: Pick<Selectable<Schema['role']>, 'name' | 'description' | 'scopes'>): Role {
  return {
    name: row.name,
    description: row.description,
    scopes: JSON.parse(row.scopes) as string[],
  }
}

export function roleStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): RoleStore {
  const roles = () =>
    db.selectFrom('role').select(['name', 'description', 'scopes']).orderBy('name')
  return {
    async insert(role, atMs) {
      const row = {
        name: role.name,
        description: role.description,
        scopes: JSON.stringify(role.scopes),
        created_at_ms: atMs,
        updated_at_ms: atMs,
      }
      const statement = db.insertInto('role').values(row).execute()
      await orNameTaken(
        statement,
        'A role with this name exists. Choose another, or change that role.',
      )
    },
    async byName(name) {
      const row = await locks.rows(roles().where('name', '=', name)).executeTakeFirst()
      return row === undefined ? undefined : toRole(row)
    },
    async all() {
      return (await roles().execute()).map(toRole)
    },
    async update(role, atMs) {
      await db
        .updateTable('role')
        .set({
          description: role.description,
          scopes: JSON.stringify(role.scopes),
          updated_at_ms: atMs,
        })
        .where('name', '=', role.name)
        .execute()
    },
    async remove(name) {
      await db.deleteFrom('user_role').where('role', '=', name).execute()
      const { numDeletedRows } = await db
        .deleteFrom('role')
        .where('name', '=', name)
        .executeTakeFirst()
      return numDeletedRows > 0n
    },
    async ofUser(userId) {
      const rows = await roles()
        .innerJoin('user_role', 'user_role.role', 'role.name')
        .where('user_role.user_id', '=', userId)
        .execute()
      return rows.map(toRole)
    },
    async setForUser(userId, names) {
      await db.deleteFrom('user_role').where('user_id', '=', userId).execute()
      if (names.length === 0) return
      await db
        .insertInto('user_role')
        .values(names.map((role) => ({ user_id: userId, role })))
        .execute()
    },
  }
}
