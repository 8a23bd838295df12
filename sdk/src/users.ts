import { dryRun } from './dry-run.ts'
import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { BlastRadius } from './job-types.ts'
import { everyItem } from './pages.ts'
import type { NewUser, User, UserEdit, UserQuery, UserWithRights } from './people-types.ts'
import type { Page } from './types.ts'

/** People and service accounts. */
export function users(send: Send) {
  const list = (query: UserQuery = {}, options: CallOptions = {}): Promise<Page<User>> =>
    send({ method: 'GET', path: '/users', query, repeatable: true, ...options })

  return {
    create(wish: NewUser, options: ChangeOptions = {}): Promise<UserWithRights> {
      return send({ method: 'POST', path: '/users', body: wish, ...options })
    },

    get(id: string, options: CallOptions = {}): Promise<UserWithRights> {
      return send({ method: 'GET', path: path`/users/${id}`, repeatable: true, ...options })
    },

    /** One page, newest first. */
    list,

    /** All users that fit, newest first, fetched page by page. */
    listAll(query: UserQuery = {}, options: CallOptions = {}): AsyncGenerator<User> {
      return everyItem((page: UserQuery) => list(page, options), query)
    },

    /** Changes a user; what is taken away binds at once, on all of the user's tokens. */
    update(id: string, edit: UserEdit, options: ChangeOptions = {}): Promise<UserWithRights> {
      return send({ method: 'PATCH', path: path`/users/${id}`, body: edit, ...options })
    },

    /** Deletes a user and revokes everything of theirs. */
    delete(id: string, options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'DELETE', path: path`/users/${id}`, ...options })
    },

    /** What disabling a user would hit; changes nothing. */
    disableDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(
        dryRun({ method: 'PATCH', path: path`/users/${id}`, body: { active: false }, ...options }),
      )
    },

    /** What deleting a user would hit; changes nothing. */
    deleteDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(dryRun({ method: 'DELETE', path: path`/users/${id}`, ...options }))
    },

    /** Gives a one-time password, valid for a day and one login, and ends all logins of the user. */
    resetPassword(id: string, options: ChangeOptions = {}): Promise<{ oneTimePassword: string }> {
      return send({ method: 'POST', path: path`/users/${id}/one-time-password`, ...options })
    },
  }
}
