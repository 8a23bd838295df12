import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { NewRole, Role, RoleEdit } from './people-types.ts'

/** Named rights, each with the scopes it brings. */
export function roles(send: Send) {
  return {
    create(wish: NewRole, options: ChangeOptions = {}): Promise<Role> {
      return send({ method: 'POST', path: '/roles', body: wish, ...options })
    },

    async list(options: CallOptions = {}): Promise<Role[]> {
      const answer = await send<{ items: Role[] }>({
        method: 'GET',
        path: '/roles',
        repeatable: true,
        ...options,
      })
      return answer.items
    },

    /** Changes a role; scopes taken away are gone from all tokens at once. */
    update(name: string, edit: RoleEdit, options: ChangeOptions = {}): Promise<Role> {
      return send({ method: 'PATCH', path: path`/roles/${name}`, body: edit, ...options })
    },

    /** Deletes a role; everyone loses it. */
    delete(name: string, options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'DELETE', path: path`/roles/${name}`, ...options })
    },
  }
}
