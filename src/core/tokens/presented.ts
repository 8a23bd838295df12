import type { TokenId } from '../id.ts'
import { addressTest } from '../ip.ts'
import { narrowRights, type Principal } from '../rights.ts'
import { narrowed } from './lineage.ts'
import type { Limits, Token } from './token.ts'

/** The first thing that is wrong with a signed access token. */
export type SignedFault = 'format' | 'signature' | 'issuer' | 'times'

/** A signed access token, as far as it can be relied on. */
export interface SignedToken {
  /** Undefined: nothing is wrong with it. */
  fault: SignedFault | undefined
  /** What it says; known once the signature and all but its times are found good. */
  source:
    | {
        /** The token that it stands for. */
        id: TokenId
        expiresAtMs: number
        /** It stands for another token, rather than being the token itself. */
        isDerived: boolean
        /** The resource that it was signed for (`aud`); the token itself must be for the same. */
        audience: string | undefined
        /** What was signed of the rights of the token behind it; undefined: nothing but its name. */
        limits?: Limits
      }
    | undefined
}

/** How a token in question was named. */
export type Presented = { secret: string } | { signed: SignedToken } | { id: TokenId }

/** Whether a signed access token is the stored one that it names, rather than borrows its name. */
export function isItself(token: Token, { audience }: { audience: string | undefined }): boolean {
  return token.format === 'jwt' && token.oauth?.audience === audience
}

/** Whether it may be presented from there, to which the token behind it may not be bound at all. */
export function mayComeFrom({ allowedIps }: Limits, ip: string | undefined): boolean {
  return allowedIps === null || addressTest(allowedIps)(ip ?? '')
}

/**
 * Whom a signed token stands for: the token behind it as it is now, within what was signed. Whatever
 * is made with it is bound by that, too.
 */
export function asSigned(
  principal: Principal,
  signed: { limits: Limits; expiresAtMs: number; audience: string | undefined },
): Principal {
  const { limits, expiresAtMs, audience } = signed
  const { token } = principal
  return {
    ...principal,
    token: { ...token, limits: narrowed(token.limits, limits), expiresAtMs },
    rights: narrowRights(principal.rights, limits),
    derivedUntilMs: expiresAtMs,
    ...(audience === undefined ? {} : { derivedFor: audience }),
  }
}
