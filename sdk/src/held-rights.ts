import type { Rights } from './token-types.ts'
import type { Mode } from './types.ts'

/** From the weakest to the strongest. */
export const MODES: readonly Mode[] = ['READ', 'WRITE', 'ADMIN']

export function holdsRole({ roles }: Pick<Rights, 'roles'>, role: string): boolean {
  return roles.includes(role)
}

export function holdsScope({ scopes }: Pick<Rights, 'scopes'>, scope: string): boolean {
  return scopes === null || scopes.includes(scope)
}

/** Whether the rights reach `mode` in the group of that id or exact name. */
export function holdsGroup(
  { groups }: Pick<Rights, 'groups'>,
  group: string,
  mode: Mode = 'READ',
): boolean {
  const held = groups.find(({ id }) => id === group) ?? groups.find(({ name }) => name === group)
  const depth = MODES.indexOf(mode)
  return held !== undefined && depth >= 0 && MODES.indexOf(held.mode) >= depth
}
