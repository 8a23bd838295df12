import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { Issued } from '../../core/tokens/issue.ts'
import { endOf } from '../../core/tokens/token.ts'
import type { AccessTokens } from './access-token.ts'
import { tokenResponse } from './map.ts'
import type { Tokens } from './wire.ts'

export type TokenPairs = (issued: Issued, ip: string) => Promise<Tokens>

/** A new refresh token with its first access token: the only time its secret is told. */
export function tokenPairs({
  core,
  mint,
}: {
  core: Pick<Core, 'verifier'>
  mint: AccessTokens
}): TokenPairs {
  return async ({ token, secret }, ip) => {
    // The first access token is made like every other: from what the verifier says of the source.
    const verdict = await core.verifier.verify(secret.reveal(), { ip, via: 's7' })
    if (!verdict.active) {
      throw new CoreError('conflict', 'The token was changed by someone else meanwhile.')
    }
    return {
      refreshToken: tokenResponse(secret.reveal(), endOf(token)),
      accessToken: await mint(verdict.principal),
    }
  }
}
