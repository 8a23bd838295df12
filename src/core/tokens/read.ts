import { can, mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { TokenId, UserId } from '../id.ts'
import { type Page, type Position, pageOf } from '../page.ts'
import { mustBeDescribed } from '../policy/enforce.ts'
import { restraintOf } from '../policy/restraint.ts'
import type { Repositories } from '../store.ts'
import { checkJsonObject, checkName, checkProse, checkSearch, nameKey } from '../text.ts'
import { isNameless } from './issue.ts'
import type { TokenFilter } from './store.ts'
import { isOauthKind, stateOf, type Token } from './token.ts'
import { visible } from './visible.ts'

/** One token by id. Throws `not_found`, also for what the caller may not see. */
export async function getToken(deps: Deps, caller: Caller, id: TokenId): Promise<Token> {
  return deps.usage.overlay(visible(deps, caller, await deps.store.tokens.byId(id)))
}

/** The current token of a serial. Throws `not_found`, also for what the caller may not see. */
export async function getTokenBySerial(deps: Deps, caller: Caller, serial: number): Promise<Token> {
  return deps.usage.overlay(visible(deps, caller, await deps.store.tokens.bySerial(serial)))
}

/**
 * The serial of a token's lineage, which is its current member's; undefined: that is not kept any more.
 * For a token that was presented, so that nothing is learnt that its holder does not know.
 */
export async function serialOfLineage(deps: Deps, token: Token): Promise<number | undefined> {
  if (token.serial !== undefined || token.supersededBy === undefined) return token.serial
  const successor = await deps.store.tokens.byId(token.supersededBy)
  return successor === undefined ? undefined : serialOfLineage(deps, successor)
}

/** A non-admin who names no owner means himself. Throws `forbidden` for other people's tokens. */
export function listableFilter(deps: Deps, caller: Caller, filter: TokenFilter): TokenFilter {
  const { principal } = caller
  const everything = { what: { ownerId: undefined }, policy: deps.policy() }
  const ownerId: UserId | undefined =
    filter.ownerId ?? (can(principal, 'token.list', everything) ? undefined : principal.user.id)
  mustBeAllowed(principal, 'token.list', { what: { ownerId }, policy: deps.policy() })
  return ownerId === undefined ? filter : { ...filter, ownerId }
}

export interface ListWish<F> {
  filter: F
  from: Position | undefined
  size: number
}

/** One page, newest first. Throws `forbidden`. */
export async function listTokens(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: ListWish<TokenFilter>,
): Promise<Page<Token>> {
  checkSearch(filter.text)
  const seen = listableFilter(deps, caller, filter)
  const rows = await deps.store.tokens.list(seen, from, size + 1, deps.clock.now())
  const page = pageOf(rows, { size, from, positionOf: (token) => [token.createdAtMs, token.id] })
  return { ...page, items: page.items.map(deps.usage.overlay) }
}

export interface Span {
  offset: number
  limit: number
}

/** By serial with an offset, for the dialect whose wire counts rows. Throws `forbidden`. */
export async function listTokensBySerial(
  deps: Deps,
  caller: Caller,
  { filter, span }: { filter: TokenFilter; span: Span },
): Promise<{ items: Token[]; total: number }> {
  const seen = listableFilter(deps, caller, filter)
  const nowMs = deps.clock.now()
  const [rows, total] = await Promise.all([
    deps.store.tokens.listBySerial(seen, span, nowMs),
    deps.store.tokens.count(seen, nowMs),
  ])
  return { items: rows.map(deps.usage.overlay), total }
}

export interface TokenEdit {
  name?: string
  description?: string
  metadata?: Record<string, unknown>
}

/**
 * Changes what people call a token; rights, owner and expiry are fixed at creation.
 * Throws `not_found`, `forbidden`, `beyond_policy`, `name_taken`, `token_not_active`,
 * `invalid_input`.
 */
export async function updateToken(
  deps: Deps,
  tx: Repositories,
  { caller, id, edit }: { caller: Caller; id: TokenId; edit: TokenEdit },
): Promise<Token> {
  const policy = deps.policy()
  const token = visible(deps, caller, await tx.tokens.byId(id))
  mustBeAllowed(caller.principal, 'token.update', { what: token, policy })
  if (isOauthKind(token.kind)) {
    throw new CoreError(
      'invalid_input',
      'A token of an OAuth client cannot be changed, only revoked.',
    )
  }
  const state = stateOf(token, deps.clock.now())
  if (state === 'revoked' || state === 'superseded') {
    throw new CoreError('token_not_active', `The token is ${state}; it is kept as it was.`)
  }
  const name =
    edit.name === undefined
      ? token.name
      : checkName(edit.name, { what: 'The token name', maxLength: 255 })
  const description = checkProse(edit.description ?? token.description, {
    what: 'The description',
    maxLength: 2000,
  })
  if (edit.description !== undefined) {
    const restraint = await restraintOf(policy, tx, token)
    if (restraint !== undefined) mustBeDescribed(description, restraint)
  }
  const metadata = edit.metadata ?? token.metadata
  const atMs = deps.clock.now()
  await tx.tokens.update(id, {
    name,
    nameKey: isNameless(token.kind) || name === undefined ? undefined : nameKey(name),
    description,
    metadata: checkJsonObject(metadata, 'The metadata'),
    atMs,
  })
  await tx.changes.append({ subject: 'token', id })
  await deps.audit(tx, caller, {
    action: 'token.updated',
    subjectType: 'token',
    subjectId: id,
    before: { name: token.name, description: token.description, metadata: token.metadata },
    after: { name, description, metadata },
  })
  return deps.usage.overlay({ ...token, name, description, metadata, updatedAtMs: atMs })
}
