import type { IssuedToken, Rights, Token } from '@mintmark/sdk'
import { answerSecret, type JsonOption } from './output.ts'
import { facts } from './table.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './text.ts'

/** All about one token, for people. */
export function aboutToken(token: Token): string {
  const person = ({ id, username }: Token['owner']) => username ?? `${id} (deleted)`
  return facts([
    ['id', token.id],
    ['name', token.name ?? undefined],
    ['description', token.description === '' ? undefined : token.description],
    ['kind', token.kind],
    ['state', stateOf(token)],
    ['owner', person(token.owner)],
    ['creator', person(token.creator)],
    ['access', token.accessLevel],
    ['roles', allOr(token.roles)],
    ['groups', allOr(groupsOf(token))],
    ['scopes', allOr(token.scopes)],
    ['from', token.allowedIps === null ? 'anywhere' : token.allowedIps.join(', ')],
    [
      'metadata',
      Object.keys(token.metadata).length === 0 ? undefined : JSON.stringify(token.metadata),
    ],
    ['secret', token.preview],
    ['made', `${token.createdAt} through ${token.via}`],
    ['expires', token.expiresAt ?? 'never'],
    ['last used', lastUseOf(token)],
    ['successor', successorOf(token)],
    ['overlap ends', token.overlapEndsAt ?? undefined],
  ])
}

/** What a token may do, as lines of `facts`. */
export function rightsFacts({ accessLevel, admin, roles, groups, scopes }: Rights) {
  return [
    ['access', accessLevel],
    ['admin', admin ? 'yes' : 'no'],
    ['roles', roles.join(', ') || 'none'],
    ['groups', groups.map(({ name, mode }) => `${name}:${mode}`).join(', ') || 'none'],
    ['scopes', scopes === null ? 'all' : scopes.join(', ') || 'none'],
  ] as const
}

/** A token in one line: what it may do, and until when. */
function reachOf(token: Token): string {
  return [
    token.accessLevel,
    `roles ${allOr(token.roles)}`,
    `groups ${allOr(groupsOf(token))}`,
    `scopes ${allOr(token.scopes)}`,
    token.expiresAt === null ? 'never expires' : `expires ${token.expiresAt}`,
  ].join('; ')
}

/** Hands over a new token: the secret is in this answer and nowhere else. */
export function answerToken(
  terminal: Terminal,
  {
    options,
    token,
    verb,
    more = [],
  }: { options: JsonOption; token: IssuedToken; verb: string; more?: string[] },
): void {
  const { secret, id, name, owner } = token
  answerSecret(terminal, {
    ...options,
    document: token,
    secret,
    before: visible(
      `${verb} the token "${name ?? ''}" of ${owner.username ?? owner.id}, id ${id}: ${reachOf(token)}.`,
    ),
    after: [
      'This secret is shown only now and cannot be shown again: store it where it is used.',
      'Check it any time, pasting it when asked:  mintmark token verify',
      ...more,
    ],
  })
}

function stateOf({ state, revokedAt, revokeReason, quarantineReason }: Token): string {
  if (state === 'quarantined')
    return `quarantined${quarantineReason ? `: ${quarantineReason}` : ''}`
  if (state !== 'revoked') return state
  const reason = revokeReason === null || revokeReason === '' ? '' : `: ${revokeReason}`
  return `revoked at ${revokedAt ?? '?'}${reason}`
}

function successorOf({ supersededBy, supersededAt, state }: Token): string | undefined {
  if (supersededBy === null) return undefined
  return state === 'active'
    ? `${supersededBy}, which it makes way for at ${supersededAt}`
    : supersededBy
}

function groupsOf({ groups }: Token): string[] | null {
  return groups === null ? null : groups.map(({ id, name, mode }) => `${name ?? id}:${mode}`)
}

/** Null means all that the owner has; an empty list means none. */
function allOr(names: string[] | null): string {
  return names === null ? "all of the owner's" : names.join(', ') || 'none'
}

function lastUseOf({ lastUsedAt, lastUsedIp, lastUsedVia, lastUsedAgent, useCount }: Token) {
  if (lastUsedAt === null) return 'never'
  const through = [lastUsedVia, lastUsedAgent].filter((each) => each !== null).join(', ')
  const how = through === '' ? '' : ` through ${through}`
  return `${lastUsedAt} from ${lastUsedIp ?? 'an unknown address'}${how} (${useCount} uses)`
}
