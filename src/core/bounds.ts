import { isIP } from 'node:net'
import { CoreError } from './errors.ts'
import { type Mode, modeCovers } from './groups/group.ts'
import type { GroupId } from './id.ts'
import { contains, parseCidr } from './ip.ts'
import type { Owner } from './rights.ts'
import { endOf, type GroupLimit, type Limits, type Token } from './tokens/token.ts'

/**
 * Nobody mints beyond himself. Refuses limits that reach further than the token that asks for them,
 * comparing list with list, so that a right which the owner regains later cannot slip in either.
 * Throws `beyond_rights`.
 */
export function mustBeWithin(wanted: Limits, creator: Limits): void {
  if (creator.accessLevel === 'READ_ONLY' && wanted.accessLevel === 'FULL_ACCESS') {
    throw beyond('the access level FULL_ACCESS')
  }
  mustBeSubset(wanted.roles, creator.roles, 'role')
  mustBeSubset(wanted.scopes, creator.scopes, 'scope')
  if (creator.groups !== null) groupsWithin(wanted.groups, creator.groups)
  if (creator.allowedIps !== null) addressesWithin(wanted.allowedIps, creator.allowedIps)
}

/**
 * What was not asked for comes from the creating token: "all of the owner's" from a limited token
 * means "all of that token's".
 */
export function inheritLimits(wanted: Limits, creator: Limits): Limits {
  return {
    accessLevel: wanted.accessLevel,
    roles: wanted.roles ?? creator.roles,
    groups: wanted.groups ?? creator.groups,
    scopes: wanted.scopes ?? creator.scopes,
    allowedIps: wanted.allowedIps ?? creator.allowedIps,
  }
}

/** A token never carries what its owner does not hold at that moment. Throws `beyond_rights`. */
export function mustBeHeldBy(
  owner: Pick<Owner, 'roles' | 'groups' | 'scopes'>,
  limits: Limits,
): void {
  for (const role of limits.roles ?? []) {
    if (!owner.roles.has(role)) throw notHeld(`the role "${role}"`)
  }
  for (const scope of limits.scopes ?? []) {
    if (owner.scopes !== 'all' && !owner.scopes.has(scope)) throw notHeld(`the scope "${scope}"`)
  }
  for (const { id, mode } of limits.groups ?? []) {
    const held = owner.groups.get(id)
    if (held === undefined || !modeCovers(held.mode, mode)) {
      throw notHeld(`the mode ${mode} in the group "${held?.name ?? id}"`)
    }
  }
}

/**
 * The end of life for a token made by `creator`: never later than the creating token's own, logins
 * aside (they are short by nature and stand for the person). A session that stands for a token is no
 * login; see `standsFor`. Throws `beyond_rights`.
 */
export function boundExpiry(
  wantedMs: number | undefined,
  { creator, explicit }: { creator: Token; explicit: boolean },
): number | undefined {
  const isLogin = creator.kind === 'session' && creator.parentId === undefined
  const latestMs = isLogin ? undefined : endOf(creator)
  if (latestMs === undefined) return wantedMs
  if (wantedMs !== undefined && wantedMs <= latestMs) return wantedMs
  if (explicit) {
    throw beyond(`an end later than its own, ${new Date(latestMs).toISOString()}`)
  }
  return latestMs
}

function mustBeSubset(
  wanted: readonly string[] | null,
  held: readonly string[] | null,
  what: string,
): void {
  if (held === null) return
  if (wanted === null) throw beyond(`every ${what}`)
  for (const each of wanted) {
    if (!held.includes(each)) throw beyond(`the ${what} "${each}"`)
  }
}

function groupsWithin(wanted: readonly GroupLimit[] | null, held: readonly GroupLimit[]): void {
  if (wanted === null) throw beyond('every group')
  const modes = new Map<GroupId, Mode>(held.map(({ id, mode }) => [id, mode]))
  for (const { id, mode } of wanted) {
    const has = modes.get(id)
    if (has === undefined || !modeCovers(has, mode)) throw beyond(`the mode ${mode} in group ${id}`)
  }
}

function addressesWithin(wanted: readonly string[] | null, held: readonly string[]): void {
  if (wanted === null) throw beyond('any client address')
  for (const range of wanted) {
    if (!held.some((outer) => contains(outer, range))) throw beyond(`the client address ${range}`)
  }
}

/** Checks and canonicalises CIDR ranges or single addresses. Throws `invalid_input`. */
export function checkAddressRanges(ranges: readonly string[]): string[] {
  return ranges.map((range) => {
    const text = isIP(range) ? `${range}/${isIP(range) === 4 ? 32 : 128}` : range
    if (parseCidr(text) === undefined) {
      throw new CoreError(
        'invalid_input',
        `"${range}" is not an address range. Write it like 10.0.0.0/8 or 2001:db8::/32.`,
      )
    }
    return text
  })
}

function beyond(what: string): CoreError {
  return new CoreError(
    'beyond_rights',
    `The token used for this request cannot give ${what}: it does not carry it itself.`,
  )
}

function notHeld(what: string): CoreError {
  return new CoreError('beyond_rights', `The owner does not hold ${what}. Grant it first.`)
}
