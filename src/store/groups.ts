import type { Kysely, Selectable, SelectQueryBuilder } from 'kysely'
import type { Group, Mode, NamedMembership } from '../core/groups/group.ts'
import type { GroupStore } from '../core/groups/store.ts'
import type { GroupId, UserId } from '../core/id.ts'
import { nextSerial } from './counter.ts'
import { containsKey, containsText, pageRows } from './keyset.ts'
import { type Locks, NO_LOCKS } from './locks.ts'
import type { GroupTable, Schema } from './schema.ts'
import { orNameTaken } from './unique.ts'

function toGroup(row: Selectable<GroupTable>): Group {
  return {
    id: row.id as GroupId,
    serial: row.serial,
    name: row.name,
    description: row.description,
    parentId: (row.parent_id ?? undefined) as GroupId | undefined,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}

const named = <T>(statement: Promise<T>) =>
  orNameTaken(statement, 'A group with this name exists. Choose another.')

export function groupStore(db: Kysely<Schema>, locks: Locks = NO_LOCKS): GroupStore {
  const live = () => db.selectFrom('group').selectAll().where('deleted_at_ms', 'is', null)
  const one = async (query: SelectQueryBuilder<Schema, 'group', Selectable<GroupTable>>) => {
    const row = await locks.rows(query).executeTakeFirst()
    return row === undefined ? undefined : toGroup(row)
  }
  const memberships = () =>
    db
      .selectFrom('membership')
      .innerJoin('user', 'user.id', 'membership.user_id')
      .innerJoin('group', 'group.id', 'membership.group_id')
      .select([
        'membership.user_id',
        'membership.group_id',
        'membership.mode',
        'user.username',
        'group.name as group_name',
        'group.description as group_description',
      ])
      .orderBy('user.serial')
      .orderBy('group.serial')
  const many = async (query: ReturnType<typeof memberships>): Promise<NamedMembership[]> =>
    (await query.execute()).map((row) => ({
      userId: row.user_id as UserId,
      groupId: row.group_id as GroupId,
      mode: row.mode as Mode,
      username: row.username,
      groupName: row.group_name,
      groupDescription: row.group_description,
    }))

  return {
    async insert(group) {
      const row: GroupTable = {
        id: group.id,
        serial: await nextSerial(db, 'group'),
        name: group.name,
        name_key: group.nameKey,
        description: group.description,
        parent_id: group.parentId ?? null,
        created_at_ms: group.atMs,
        updated_at_ms: group.atMs,
        deleted_at_ms: null,
      }
      await named(db.insertInto('group').values(row).execute())
      return toGroup(row)
    },
    byId: (id) => one(live().where('id', '=', id)),
    byNameKey: (key) => one(live().where('name_key', '=', key)),
    async list(filter, from, size) {
      let query = live()
      const { text } = filter
      if (text !== undefined) {
        query = query.where((eb) =>
          eb.or([containsKey('name_key', text), containsText('description', text)]),
        )
      }
      return (await pageRows(query, from, size)).map(toGroup)
    },
    async all() {
      return (await live().orderBy('serial').execute()).map(toGroup)
    },
    async update(id, to) {
      await named(
        db
          .updateTable('group')
          .set({
            name: to.name,
            name_key: to.nameKey,
            description: to.description,
            updated_at_ms: to.atMs,
          })
          .where('id', '=', id)
          .execute(),
      )
    },
    async remove(id, atMs) {
      await db.deleteFrom('membership').where('group_id', '=', id).execute()
      await db
        .updateTable('group')
        .set({ deleted_at_ms: atMs, updated_at_ms: atMs })
        .where('id', '=', id)
        .execute()
    },
    async putMembership({ userId, groupId, mode }, atMs) {
      await db
        .insertInto('membership')
        .values({ user_id: userId, group_id: groupId, mode, created_at_ms: atMs })
        .onConflict((conflict) => conflict.columns(['user_id', 'group_id']).doUpdateSet({ mode }))
        .execute()
    },
    async removeMembership(userId, groupId) {
      const { numDeletedRows } = await db
        .deleteFrom('membership')
        .where('user_id', '=', userId)
        .where('group_id', '=', groupId)
        .executeTakeFirst()
      return numDeletedRows > 0n
    },
    async removeMembershipsOf(userId) {
      await db.deleteFrom('membership').where('user_id', '=', userId).execute()
    },
    async mode(userId, groupId) {
      const row = await db
        .selectFrom('membership')
        .select('mode')
        .where('user_id', '=', userId)
        .where('group_id', '=', groupId)
        .executeTakeFirst()
      return row?.mode as Mode | undefined
    },
    membershipsOfUser: (id) => many(memberships().where('membership.user_id', '=', id)),
    membershipsOfGroup: (id) => many(memberships().where('membership.group_id', '=', id)),
    async groupsOfUsers(ids) {
      if (ids.length === 0) return []
      const rows = await db
        .selectFrom('membership')
        .innerJoin('group', 'group.id', 'membership.group_id')
        .leftJoin('group as parent', (join) =>
          join.onRef('parent.id', '=', 'group.parent_id').on('parent.deleted_at_ms', 'is', null),
        )
        .selectAll('group')
        .select(['membership.user_id', 'parent.name as parent_name'])
        .where('membership.user_id', 'in', ids)
        .orderBy('membership.user_id')
        .orderBy('group.serial')
        .execute()
      return rows.map((row) => ({
        userId: row.user_id as UserId,
        group: toGroup(row),
        parentName: row.parent_name ?? undefined,
      }))
    },
    allMemberships: () => many(memberships()),
  }
}
