import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import { isBuiltInScope } from '../rights.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import { ADMIN_ROLE, checkScope, type Role } from './role.ts'

const ROLE_NAME = /^[a-z0-9][a-z0-9:._-]{0,62}$/

/** Throws `forbidden`, `name_taken`, `invalid_input`. */
export async function createRole(
  deps: Deps,
  tx: Repositories,
  { caller, role }: { caller: Caller; role: Role },
): Promise<Role> {
  mustBeAllowed(caller.principal, 'role.manage', { what: undefined, policy: deps.policy() })
  const checked = checkRole(role)
  await tx.roles.insert(checked, deps.clock.now())
  await tx.changes.append({ subject: 'role', id: checked.name })
  await deps.audit(tx, caller, {
    action: 'role.created',
    subjectType: 'role',
    subjectId: checked.name,
    after: { ...checked },
  })
  return checked
}

/** Scopes taken from a role are gone from every token at once. Throws `forbidden`, `not_found`. */
export async function updateRole(
  deps: Deps,
  tx: Repositories,
  { caller, name, edit }: { caller: Caller; name: string; edit: Partial<Omit<Role, 'name'>> },
): Promise<Role> {
  mustBeAllowed(caller.principal, 'role.manage', { what: undefined, policy: deps.policy() })
  const before = await tx.roles.byName(name)
  if (before === undefined) throw notFound('role')
  const after = checkRole({ ...before, ...edit })
  await tx.roles.update(after, deps.clock.now())
  await tx.changes.append({ subject: 'role', id: name })
  await deps.audit(tx, caller, {
    action: 'role.updated',
    subjectType: 'role',
    subjectId: name,
    before: { ...before },
    after: { ...after },
  })
  return after
}

/** Takes the role from everyone. Throws `forbidden`, `not_found`. */
export async function deleteRole(
  deps: Deps,
  tx: Repositories,
  { caller, name }: { caller: Caller; name: string },
): Promise<void> {
  mustBeAllowed(caller.principal, 'role.manage', { what: undefined, policy: deps.policy() })
  if (!(await tx.roles.remove(name))) throw notFound('role')
  await tx.changes.append({ subject: 'role', id: name })
  await deps.audit(tx, caller, { action: 'role.deleted', subjectType: 'role', subjectId: name })
}

/** All roles, `admin` first. */
export async function listRoles(deps: Deps, caller: Caller): Promise<Role[]> {
  mustBeAllowed(caller.principal, 'role.list', { what: undefined, policy: deps.policy() })
  const builtIn: Role = {
    name: ADMIN_ROLE,
    description: 'Everything. Comes with the global role ADMIN.',
    scopes: [],
  }
  return [builtIn, ...(await deps.store.roles.all())]
}

function checkRole(role: Role): Role {
  if (!ROLE_NAME.test(role.name) || role.name === ADMIN_ROLE) {
    throw new CoreError(
      'invalid_input',
      'A role name has 1 to 63 characters of a-z 0-9 : . _ - and is not "admin".',
    )
  }
  return {
    name: role.name,
    description: checkProse(role.description, { what: 'The description', maxLength: 2000 }),
    scopes: [...new Set(role.scopes.map(checkGrantable))],
  }
}

function checkGrantable(scope: string): string {
  if (!isBuiltInScope(checkScope(scope))) return scope
  throw new CoreError('invalid_input', `The scope "${scope}" is built in; every user holds it.`)
}
