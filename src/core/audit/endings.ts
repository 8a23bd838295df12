import { type Mode, modeCovers } from '../groups/group.ts'
import type { AuditRecord } from './event.ts'

/** As much of an audit record as tells what ended. */
export type EndingRecord = Pick<
  AuditRecord,
  'sequence' | 'subjectType' | 'subjectId' | 'before' | 'after'
> & { action: string; hash?: string }

/**
 * What was taken away in a stretch of the audit trail: whoever goes back to a state from before must take
 * it away again.
 */
export interface Endings {
  /** Revoked, rotated away, spent: whatever they were, they must not open anything. */
  tokens: ReadonlySet<string>
  /** Token → the end that it was given, in epoch milliseconds. */
  shortened: ReadonlyMap<string, number>
  users: ReadonlyMap<string, UserEnding>
  /** Group → user → the mode left; undefined: none. */
  memberships: ReadonlyMap<string, ReadonlyMap<string, Mode | undefined>>
  groups: ReadonlySet<string>
  /** Role → the scopes left; undefined: it is gone. */
  roles: ReadonlyMap<string, readonly string[] | undefined>
  clients: ReadonlyMap<string, ClientEnding>
  grants: ReadonlySet<string>
  /** The policy as it was decided last. */
  policy: Readonly<Record<string, unknown>>
  /** Actions that nothing can be made of; people must look. */
  open: ReadonlyMap<string, number>
  /** Every token and grant ends, because nobody knows which had. */
  everything: boolean
}

export interface UserEnding {
  deleted: boolean
  disabled: boolean
  demoted: boolean
  /** The password of then may be the one that was lost. */
  passwordReplaced: boolean
  /** The roles left; undefined: as they were. */
  roles: readonly string[] | undefined
}

export interface ClientEnding {
  deleted: boolean
  disabled: boolean
  secretReplaced: boolean
}

/** A line of the journal of revocations that only says how far it knows the trail. */
export const JOURNAL_MARK = 'journal.reached'

/** What gives, or only tells; to go back before it takes nothing away from anybody's safety. */
export const HARMLESS_ACTIONS: readonly string[] = [
  'token.created',
  'token.purged',
  'token.exported',
  'token.rekeyed',
  'token.rotation_extended',
  'token.expiring',
  'token.expired',
  'token.leaked',
  'token.released',
  'token.quarantine_used',
  'token.policy_violated',
  'webhook.created',
  'webhook.tested',
  'webhook.redelivered',
  'webhook.paused',
  'session.opened',
  'login.failed',
  'login.locked',
  'user.created',
  'user.identity_linked',
  'group.created',
  'group.updated',
  'role.created',
  'client.created',
  'grant.given',
  'job.created',
  'job.cancelled',
  'job.finished',
  'server.bootstrapped',
  'server.moved',
  'server.restored',
  JOURNAL_MARK,
]

const HARMLESS = new Set(HARMLESS_ACTIONS)

/** Whether a record takes anything away: a token that was only named anew loses nothing. */
export function isEnding({ action, after }: Pick<EndingRecord, 'action' | 'after'>): boolean {
  if (action === 'token.updated') return typeof after?.expiresAtMs === 'number'
  return !HARMLESS.has(action)
}

/**
 * Reads what ended out of records, in their order. Unknown actions on a token count as its end, so that a
 * kind of ending that came later is not missed.
 */
export function endingsOf(records: Iterable<EndingRecord>): Endings {
  const tokens = new Set<string>()
  const shortened = new Map<string, number>()
  const users = new Map<string, UserEnding>()
  const memberships = new Map<string, Map<string, Mode | undefined>>()
  const groups = new Set<string>()
  const roles = new Map<string, readonly string[] | undefined>()
  const clients = new Map<string, ClientEnding>()
  const grants = new Set<string>()
  const open = new Map<string, number>()
  let policy: Record<string, unknown> = {}

  const user = (id: string, change: Partial<UserEnding>) =>
    users.set(id, { ...(users.get(id) ?? UNTOUCHED_USER), ...change })
  const client = (id: string, change: Partial<ClientEnding>) =>
    clients.set(id, { ...(clients.get(id) ?? UNTOUCHED_CLIENT), ...change })
  const member = (groupId: string, userId: unknown, mode: Mode | undefined) => {
    const members = memberships.get(groupId) ?? new Map<string, Mode | undefined>()
    members.set(String(userId), mode)
    memberships.set(groupId, members)
  }

  for (const { action, subjectType, subjectId: id, before = {}, after = {} } of records) {
    if (!isEnding({ action, after })) continue
    switch (action) {
      case 'token.rotated':
        // The event is about the successor, which is not there yet.
        tokens.add(String(before.tokenId))
        break
      case 'token.updated':
        // Nothing ever puts the end of a token off, so the last one is the earliest.
        shortened.set(id, Number(after.expiresAtMs))
        break
      case 'user.updated':
        user(id, {
          ...(after.active === false ? { disabled: true } : {}),
          ...(after.globalRole === 'USER' ? { demoted: true } : {}),
          ...(Array.isArray(after.roles) ? { roles: after.roles.map(String) } : {}),
        })
        break
      case 'user.deleted':
        user(id, { deleted: true })
        break
      case 'user.password_changed':
      case 'user.password_reset':
        user(id, { passwordReplaced: true })
        break
      case 'membership.removed':
        member(id, before.userId, undefined)
        break
      case 'membership.set':
        if (isLess(after.mode, before.mode)) member(id, after.userId, after.mode as Mode)
        break
      case 'group.deleted':
        groups.add(id)
        break
      case 'role.deleted':
        roles.set(id, undefined)
        break
      case 'role.updated':
        // What a deletion took from its holders, another role of the name does not give them back.
        if (roles.has(id) && roles.get(id) === undefined) break
        roles.set(id, Array.isArray(after.scopes) ? after.scopes.map(String) : undefined)
        break
      case 'client.updated':
        if (after.active === false) client(id, { disabled: true })
        // What else was narrowed, such as an address to return to, is for people to look at.
        else count(open, action)
        break
      case 'client.deleted':
        client(id, { deleted: true })
        break
      case 'client.secret_replaced':
        client(id, { secretReplaced: true })
        break
      case 'grant.withdrawn':
        grants.add(id)
        break
      case 'policy.updated':
        policy = { ...policy, ...after }
        break
      default:
        if (subjectType === 'token') tokens.add(id)
        else count(open, action)
    }
  }
  return {
    tokens,
    shortened,
    users,
    memberships,
    groups,
    roles,
    clients,
    grants,
    policy,
    open,
    everything: false,
  }
}

const UNTOUCHED_USER: UserEnding = {
  deleted: false,
  disabled: false,
  demoted: false,
  passwordReplaced: false,
  roles: undefined,
}
const UNTOUCHED_CLIENT: ClientEnding = { deleted: false, disabled: false, secretReplaced: false }

function isLess(after: unknown, before: unknown): boolean {
  return before !== undefined && !modeCovers(after as Mode, before as Mode)
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

/** Nothing is known to have ended. */
export const NO_ENDINGS: Endings = endingsOf([])
