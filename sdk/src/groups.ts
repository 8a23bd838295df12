import { dryRun } from './dry-run.ts'
import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { BlastRadius } from './job-types.ts'
import { everyItem } from './pages.ts'
import type { Group, GroupEdit, GroupQuery, Member, NewGroup } from './people-types.ts'
import type { Mode, Page } from './types.ts'

/** Named sets of users, each member with a mode. */
export function groups(send: Send) {
  const list = (query: GroupQuery = {}, options: CallOptions = {}): Promise<Page<Group>> =>
    send({ method: 'GET', path: '/groups', query, repeatable: true, ...options })

  return {
    create(wish: NewGroup, options: ChangeOptions = {}): Promise<Group> {
      return send({ method: 'POST', path: '/groups', body: wish, ...options })
    },

    get(id: string, options: CallOptions = {}): Promise<Group> {
      return send({ method: 'GET', path: path`/groups/${id}`, repeatable: true, ...options })
    },

    /** One page. Admins see all groups, others their own. */
    list,

    /** All groups that fit, fetched page by page. */
    listAll(query: GroupQuery = {}, options: CallOptions = {}): AsyncGenerator<Group> {
      return everyItem((page: GroupQuery) => list(page, options), query)
    },

    update(id: string, edit: GroupEdit, options: ChangeOptions = {}): Promise<Group> {
      return send({ method: 'PATCH', path: path`/groups/${id}`, body: edit, ...options })
    },

    /** Deletes a group with its memberships. */
    delete(id: string, options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'DELETE', path: path`/groups/${id}`, ...options })
    },

    /** Whose tokens would reach less without the group; changes nothing. */
    deleteDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(dryRun({ method: 'DELETE', path: path`/groups/${id}`, ...options }))
    },

    async members(id: string, options: CallOptions = {}): Promise<Member[]> {
      const answer = await send<{ items: Member[] }>({
        method: 'GET',
        path: path`/groups/${id}/members`,
        repeatable: true,
        ...options,
      })
      return answer.items
    },

    /** Adds a member, or changes the mode of one. */
    setMember(id: string, userId: string, mode: Mode, options: ChangeOptions = {}): Promise<void> {
      return send({
        method: 'PUT',
        path: path`/groups/${id}/members/${userId}`,
        body: { mode },
        repeatable: true,
        ...options,
      })
    },

    removeMember(id: string, userId: string, options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'DELETE', path: path`/groups/${id}/members/${userId}`, ...options })
    },
  }
}
