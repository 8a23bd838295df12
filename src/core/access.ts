import { CoreError, notFound } from './errors.ts'
import type { Membership } from './groups/group.ts'
import type { GroupId, UserId } from './id.ts'
import type { Job } from './jobs/job.ts'
import type { Policy } from './policy/policy.ts'
import type { Principal } from './rights.ts'
import { endOf, isOauthKind, type Token, type TokenKind } from './tokens/token.ts'
import type { User } from './users/user.ts'

/** What each action acts on. */
interface Subjects {
  'token.list': { ownerId: UserId | undefined }
  'token.read': Pick<Token, 'ownerId'>
  'token.create': { ownerId: UserId; kind: TokenKind }
  'token.import': undefined
  'token.update': Pick<Token, 'ownerId'>
  'token.rotate': Pick<Token, 'ownerId'>
  'token.revoke': Pick<Token, 'ownerId' | 'kind'>
  'token.revoke-self': undefined
  'token.delegate': undefined
  'token.sign': undefined
  'verdict.reason': Pick<Token, 'ownerId'> | undefined
  'verdict.explain': Pick<Token, 'ownerId'> | undefined
  'user.list': undefined
  'user.read': { id: UserId }
  'user.manage': undefined
  'password.change': { id: UserId }
  'password.reset': undefined
  'admin.appoint': undefined
  'session.open': undefined
  'group.list': undefined
  'group.read': { id: GroupId }
  'group.manage': undefined
  'group.describe': { id: GroupId }
  'membership.set': { groupId: GroupId; user: User; existing: Membership['mode'] | undefined }
  'membership.remove': { groupId: GroupId; user: User }
  'role.list': undefined
  'role.manage': undefined
  'client.read': undefined
  'client.manage': undefined
  'grant.list': { userId: UserId | undefined }
  'grant.withdraw': { userId: UserId }
  'key.read': undefined
  'key.rotate': undefined
  'job.create': undefined
  'job.read': Pick<Job, 'ownerId'>
  'job.list': { ownerId: UserId | undefined }
  'job.cancel': Pick<Job, 'ownerId'>
  'node.read': undefined
  'policy.read': undefined
  'policy.manage': undefined
  'policy.test': undefined
  'audit.read': undefined
  'event.list': { ownerId: UserId | undefined }
  'webhook.read': undefined
  'webhook.manage': undefined
  'leak.report': undefined
  'token.quarantine': Pick<Token, 'ownerId'>
  'token.release': Pick<Token, 'ownerId' | 'quarantinedBy'>
  'administration.read': undefined
}

/** The role of whoever may report leaked secrets, such as the account of a scanner. */
const LEAK_REPORTER = 'leak-reporter'

export type Action = keyof Subjects

type Rule<A extends Action> = (who: Principal, what: Subjects[A], policy: Policy) => boolean

const isAdmin = (who: Principal) => who.rights.admin
const mayWrite = (who: Principal) => who.rights.accessLevel === 'FULL_ACCESS'
const adminWrites = (who: Principal) => isAdmin(who) && mayWrite(who)
const owns = (who: Principal, { ownerId }: { ownerId: UserId }) => who.user.id === ownerId
const ownWrites = (who: Principal, what: { ownerId: UserId }, policy: Policy) =>
  mayWrite(who) && owns(who, what) && policy.usersMayCreateTokens
const isLogin = (who: Principal) =>
  who.token.kind === 'session' && who.token.parentId === undefined && isItself(who)
const isUnlimited = ({ token }: Principal) => {
  const { roles, groups, scopes, allowedIps } = token.limits
  const open = roles === null && groups === null && scopes === null && allowedIps === null
  return (
    open && (token.kind === 'session' ? token.parentId === undefined : endOf(token) === undefined)
  )
}
/** Asks with the token itself, not with an access token that resource servers get to see, too. */
const isItself = (who: Principal) => who.derivedUntilMs === undefined
const leads = (who: Principal, id: GroupId) => who.rights.groups.get(id)?.mode === 'ADMIN'

/** Made to be kept by a program, which may hand on less than it holds. */
const isKept = ({ token: { kind } }: Principal) => kind === 'api' || kind === 'service'

/** Every right there is, one line each; all dialects ask here and nowhere else. */
const rules: { [A in Action]: Rule<A> } = {
  'token.list': (who, { ownerId }) => isAdmin(who) || ownerId === who.user.id,
  'token.read': (who, token) => isAdmin(who) || owns(who, token),
  'token.create': (who, wish, policy) =>
    wish.kind === 'api'
      ? isItself(who) && (adminWrites(who) || ownWrites(who, wish, policy))
      : adminWrites(who),
  // Whoever imports knows the secrets of others' tokens.
  'token.import': (who) => adminWrites(who) && isItself(who),
  'token.update': (who, token, policy) => adminWrites(who) || ownWrites(who, token, policy),
  'token.rotate': (who, token, policy) =>
    isItself(who) && (adminWrites(who) || ownWrites(who, token, policy)),
  // What a user let a client do, the user may always take back.
  'token.revoke': (who, token, policy) =>
    adminWrites(who) ||
    ownWrites(who, token, policy) ||
    (mayWrite(who) && owns(who, token) && isOauthKind(token.kind)),
  // Its holder may always throw a secret away, READ_ONLY or not; an access token is not that secret.
  'token.revoke-self': isItself,
  // Narrower and gone with its parent, so it takes no right to create tokens.
  'token.delegate': (who, _, policy) =>
    isKept(who) && isItself(who) && mayWrite(who) && policy.tokensMayMintChildren,
  // Says what the token may do anyhow, for minutes: it changes nothing.
  'token.sign': (who) => isKept(who) && isItself(who),
  'verdict.reason': (who, token) =>
    isAdmin(who) || who.rights.roles.has('verifier') || (token !== undefined && owns(who, token)),
  // Everything about a token and what its owner lost; a verifier hears no more than the reason.
  'verdict.explain': (who, token) => isAdmin(who) || (token !== undefined && owns(who, token)),
  'user.list': isAdmin,
  'user.read': (who, user) => isAdmin(who) || who.user.id === user.id,
  'user.manage': adminWrites,
  // A password opens every door of its user, so only a login of that user may change it, no token.
  'password.change': (who, user) => who.user.id === user.id && mayWrite(who) && isLogin(who),
  // Both open an unlimited login, so a token with limits would get rid of them that way.
  'password.reset': (who) => adminWrites(who) && isUnlimited(who) && isItself(who),
  'admin.appoint': (who) => adminWrites(who) && isUnlimited(who),
  'session.open': (who) => mayWrite(who) && isItself(who),
  'group.list': isAdmin,
  'group.read': (who, group) => isAdmin(who) || who.rights.groups.has(group.id),
  'group.manage': adminWrites,
  'group.describe': (who, group) => adminWrites(who) || (mayWrite(who) && leads(who, group.id)),
  // A group's ADMIN ranks its members, but neither brings in outsiders nor touches an instance admin.
  'membership.set': (who, { groupId, user, existing }) =>
    adminWrites(who) ||
    (mayWrite(who) && leads(who, groupId) && existing !== undefined && user.globalRole !== 'ADMIN'),
  'membership.remove': (who, { groupId, user }) =>
    adminWrites(who) || (mayWrite(who) && leads(who, groupId) && user.globalRole !== 'ADMIN'),
  'role.list': () => true,
  'role.manage': adminWrites,
  'client.read': isAdmin,
  'client.manage': adminWrites,
  'grant.list': (who, { userId }) => isAdmin(who) || userId === who.user.id,
  'grant.withdraw': (who, { userId }) =>
    adminWrites(who) || (mayWrite(who) && userId === who.user.id),
  'key.read': isAdmin,
  'key.rotate': (who) => adminWrites(who) && isItself(who),
  // Which tokens it may change is asked of each. It goes on with the rights of the token itself.
  'job.create': (who) => mayWrite(who) && isItself(who),
  'job.list': (who, { ownerId }) => isAdmin(who) || ownerId === who.user.id,
  'job.read': (who, job) => isAdmin(who) || owns(who, job),
  'job.cancel': (who, job) => adminWrites(who) || (mayWrite(who) && owns(who, job)),
  'node.read': isAdmin,
  'policy.read': () => true,
  'policy.manage': adminWrites,
  // Shows tokens of everybody, and changes nothing.
  'policy.test': isAdmin,
  'audit.read': isAdmin,
  'event.list': (who, { ownerId }) => isAdmin(who) || ownerId === who.user.id,
  'webhook.read': isAdmin,
  // Whoever names the address learns what goes on from then on, whatever becomes of the token.
  'webhook.manage': (who) => adminWrites(who) && isItself(who),
  'leak.report': (who) => mayWrite(who) && (isAdmin(who) || who.rights.roles.has(LEAK_REPORTER)),
  // Stopping one's own token is as harmless as throwing it away, and easier to take back.
  'token.quarantine': (who, token) => adminWrites(who) || (mayWrite(who) && owns(who, token)),
  // What a leak report or an administrator stopped, its owner may not start again.
  'token.release': (who, token) =>
    adminWrites(who) || (mayWrite(who) && owns(who, token) && token.quarantinedBy === who.user.id),
  // For wires that show administration to administrators alone, their own records included.
  'administration.read': isAdmin,
}

/** Whether `who` may do `action` to `what` under `policy`. */
export function can<A extends Action>(
  who: Principal,
  action: A,
  { what, policy }: { what: Subjects[A]; policy: Policy },
): boolean {
  return rules[action](who, what, policy)
}

/** Throws `forbidden`, with the way out, unless `who` may do `action`. */
export function mustBeAllowed<A extends Action>(
  who: Principal,
  action: A,
  { what, policy }: { what: Subjects[A]; policy: Policy },
): void {
  if (can(who, action, { what, policy })) return
  throw new CoreError('forbidden', whyNot(who, action), {
    detail: { action, actorId: who.user.id },
  })
}

const NEEDS_ITSELF = new Set<Action>([
  'token.create',
  'token.import',
  'token.rotate',
  'token.revoke-self',
  'token.delegate',
  'token.sign',
  'password.change',
  'password.reset',
  'session.open',
  'job.create',
  'key.rotate',
  'webhook.manage',
])

function whyNot(who: Principal, action: Action): string {
  if (!isItself(who) && NEEDS_ITSELF.has(action)) {
    return 'An access token stands for another token for minutes only and may not do this. Use the token itself.'
  }
  const changes = !/\.(list|read|reason|sign|test)$/.test(action)
  if (changes && !mayWrite(who)) {
    return 'This token is READ_ONLY and cannot change anything. Use a FULL_ACCESS one.'
  }
  if (action === 'token.sign' || (action === 'token.delegate' && !isKept(who))) {
    return 'Only api and service tokens hand on what they hold. Use one, or create a token instead.'
  }
  if (action === 'token.delegate') {
    return 'The policy does not let tokens mint children. An administrator can turn tokensMayMintChildren on.'
  }
  if (action === 'password.change') {
    return 'Only a login session of the user may change the password. Log in first.'
  }
  if ((action === 'password.reset' || action === 'admin.appoint') && isAdmin(who)) {
    return 'A token with limits or an end may not do this, because it opens an unlimited login. Log in, or use a token without limits.'
  }
  if (action === 'leak.report') {
    return `This needs the role "${LEAK_REPORTER}" or an administrator.`
  }
  if (action === 'token.release' && !isAdmin(who)) {
    return 'Somebody else quarantined this token, so only an administrator can release it. Revoke it and create a new one.'
  }
  if (action.startsWith('token.') && !isAdmin(who)) {
    return 'You may act on api tokens of your own, where the policy lets users create tokens. The rest needs an administrator.'
  }
  return 'This needs an administrator.'
}

/** For objects: what the caller may not read does not exist for the caller (no existence oracle). */
export function mustBeVisible<A extends 'token.read' | 'user.read' | 'group.read'>(
  who: Principal,
  action: A,
  { what, policy }: { what: Subjects[A]; policy: Policy },
): void {
  if (can(who, action, { what, policy })) return
  throw notFound(action === 'token.read' ? 'token' : action === 'user.read' ? 'user' : 'group')
}
