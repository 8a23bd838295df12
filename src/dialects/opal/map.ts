import { CoreError } from '../../core/errors.ts'
import { isId, type TokenId, type UserId } from '../../core/id.ts'
import type { Cursors, Page, Position } from '../../core/page.ts'
import type { TokenFilter } from '../../core/tokens/store.ts'
import type { Token as CoreToken, TokenKind, TokenState } from '../../core/tokens/token.ts'
import type { ListQuery, Token } from './wire.ts'

/** What this wire calls API tokens: `api` tokens that were neither revoked nor rotated away. */
export const SHOWN_KIND: TokenKind = 'api'
export const SHOWN_STATES: TokenState[] = ['active', 'quarantined', 'expired']

const DEFAULT_PAGE_SIZE = 200
const MAX_PAGE_SIZE = 1000

function instant(ms: number): string {
  return new Date(ms).toISOString()
}

function instantOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : instant(ms)
}

/** A token as this wire shows it; the secret has no place here. */
export function tokenOut(token: CoreToken): Token {
  return {
    token_id: token.id,
    created_at: instant(token.createdAtMs),
    token_label: token.name ?? '',
    creator_user_id: token.creatorId,
    user_id: token.ownerId,
    last_used_at: instantOrNull(token.lastUsedAtMs),
    access_level: token.limits.accessLevel,
    expires_at: instantOrNull(token.expiresAtMs),
  }
}

/** A page with both cursors, null at either end. */
export function pageOut({ items, next, previous }: Page<CoreToken>, cursors: Cursors) {
  const cursor = (at: Position | undefined) => (at === undefined ? null : cursors.encode(at))
  return { next: cursor(next), previous: cursor(previous), results: items.map(tokenOut) }
}

/** Which tokens are asked for. Throws `invalid_input`. */
export function filterOf({ token_ids = [], user_id }: ListQuery): TokenFilter {
  const ids = [token_ids].flat().flatMap((text) => (text === '' ? [] : text.split(',')))
  return {
    kinds: [SHOWN_KIND],
    states: SHOWN_STATES,
    // An empty list is how clients spell "no filter".
    ...(ids.length === 0 ? {} : { ids: ids.map((id) => idOf<TokenId>(id, 'token_ids')) }),
    ...(user_id === undefined ? {} : { ownerId: idOf<UserId>(user_id, 'user_id') }),
  }
}

/** An id in any case, in the one that ids have. Throws `invalid_input`. */
export function idOf<Id extends TokenId | UserId>(text: string, what: string): Id {
  const id = text.toLowerCase()
  if (!isId(id)) throw new CoreError('invalid_input', `${what} must be a UUID.`)
  // Ids are branded where text becomes one: here.
  return id as Id
}

/** 200 unless asked otherwise. Throws `invalid_input`. */
export function pageSizeOf({ page_size }: ListQuery): number {
  if (page_size === undefined) return DEFAULT_PAGE_SIZE
  const size = /^\d{1,5}$/.test(page_size) ? Number(page_size) : 0
  if (size >= 1 && size <= MAX_PAGE_SIZE) return size
  throw new CoreError(
    'invalid_input',
    `page_size must be a whole number from 1 to ${MAX_PAGE_SIZE}.`,
  )
}

/** Where the page begins; an empty cursor is the beginning. Throws `invalid_input`. */
export function positionOf({ cursor }: ListQuery, cursors: Cursors): Position | undefined {
  return cursor === undefined || cursor === '' ? undefined : cursors.decode(cursor)
}
