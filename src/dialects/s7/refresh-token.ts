import type { TokenFilter } from '../../core/tokens/store.ts'
import type { Token, TokenKind } from '../../core/tokens/token.ts'

/** Kinds among which there are refresh tokens of this wire. */
export const REFRESH_KINDS: readonly TokenKind[] = ['service', 'session']

/** Service tokens of any origin; of the logins, only the sign-ins of this wire. */
export function isRefreshToken({ kind, via }: Pick<Token, 'kind' | 'via'>): boolean {
  return kind === 'service' || (kind === 'session' && via === 's7')
}

/** The same as filters of the inventory; together they find the live ones. */
export const LIVE_REFRESH_TOKENS: TokenFilter[] = [
  { kinds: ['service'], states: ['active'] },
  { kinds: ['session'], via: ['s7'], states: ['active'] },
]
