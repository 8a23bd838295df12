import type { KoaContextWithOIDC } from 'oidc-provider'
import type { EngineToken } from '../core/oauth/tokens.ts'
import type { Token } from '../core/tokens/token.ts'

/**
 * What one request to the token endpoint wants to change. The engine writes step by step; collected
 * here, all of it becomes one transaction, so that a crash or a race leaves nothing half done.
 */
export interface Unit {
  /** The code or refresh token that was presented. */
  presented: Token | undefined
  spends: Token | undefined
  consumes: { model: string; id: string } | undefined
  saves: EngineToken[]
  /** What was presented had been used before, and its grant is to die. */
  reused: boolean
  /** The grant to kill, where nothing but a device code was presented. */
  grantId: string | undefined
}

const units = new WeakMap<KoaContextWithOIDC, Unit>()

export function openUnit(ctx: KoaContextWithOIDC): Unit {
  const unit: Unit = {
    presented: undefined,
    spends: undefined,
    consumes: undefined,
    saves: [],
    reused: false,
    grantId: undefined,
  }
  units.set(ctx, unit)
  return unit
}

/** The unit of the request under way; undefined outside of the token endpoint. */
export function unitOf(ctx: KoaContextWithOIDC | undefined): Unit | undefined {
  return ctx === undefined ? undefined : units.get(ctx)
}
