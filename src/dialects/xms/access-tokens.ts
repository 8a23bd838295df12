import { mustBeAllowed } from '../../core/access.ts'
import type { Caller } from '../../core/caller.ts'
import type { Core } from '../../core/core.ts'
import { CoreError, notFound } from '../../core/errors.ts'
import type { UserId } from '../../core/id.ts'
import type { Issued } from '../../core/tokens/issue.ts'
import { stateOf, type Token } from '../../core/tokens/token.ts'
import { accessTokenOut, booleanOf, SHOWN_KIND, SHOWN_STATES, serialOf } from './map.ts'
import type { AccessToken, ListQuery } from './wire.ts'

/** The access token of an id. Throws `not_found`, also for what this wire or this caller may not see. */
export async function accessToken(core: Core, caller: Caller, id: string): Promise<Token> {
  const serial = serialOf(id, 'The id')
  if (serial === undefined) throw notFound('token')
  const token = await core.read.tokenBySerial(caller, serial)
  const isShown =
    token.kind === SHOWN_KIND && SHOWN_STATES.includes(stateOf(token, core.clock.now()))
  if (!isShown) throw notFound('token')
  return token
}

/** Tokens with their owners, looked up together. */
export async function showAll(core: Core, tokens: Token[]): Promise<AccessToken[]> {
  const owners = await core.userLabels(tokens.map(({ ownerId }) => ownerId))
  return tokens.map((token) => accessTokenOut(token, owners.get(token.ownerId)))
}

export async function show(core: Core, token: Token): Promise<AccessToken> {
  const owners = await core.userLabels([token.ownerId])
  return accessTokenOut(token, owners.get(token.ownerId))
}

/** With the secret: what only create and regenerate answer. */
export async function showIssued(core: Core, { token, secret }: Issued) {
  return { access_token: { ...(await show(core, token)), uuid: secret.reveal() } }
}

/** Whose tokens a list is about: everybody's, one user's, or (an unknown user) nobody's. */
export type Owner = 'everybody' | 'nobody' | { ownerId: UserId }

/** Own tokens unless asked otherwise. Throws `forbidden` when a non-admin looks beyond them. */
export async function listedOwner(core: Core, caller: Caller, query: ListQuery): Promise<Owner> {
  const { principal } = caller
  const all = query.all !== undefined && booleanOf(query.all, 'all')
  const serial = query.user_id === undefined ? undefined : serialOf(query.user_id, 'user_id')
  const self = principal.user
  if (!all && (query.user_id === undefined || serial === self.serial)) return { ownerId: self.id }
  mustBeAllowed(principal, 'token.list', { what: { ownerId: undefined }, policy: core.policy() })
  if (query.user_id === undefined) return 'everybody'
  const user = serial === undefined ? undefined : await core.read.userBySerial(caller, serial)
  return user === undefined ? 'nobody' : { ownerId: user.id }
}

/** A role that does not exist is a mistake (400); one that the caller lacks is not allowed (403). */
export async function mustBeKnownRoles(core: Core, caller: Caller, names: string[]): Promise<void> {
  const known = new Set((await core.read.roles(caller)).map(({ name }) => name))
  const unknown = names.find((name) => !known.has(name))
  if (unknown === undefined) return
  throw new CoreError('invalid_input', `There is no role "${unknown.slice(0, 63)}".`)
}
