import type Provider from 'oidc-provider'
import { errors } from 'oidc-provider'
import type { Core } from '../core/core.ts'
import type { UserId } from '../core/id.ts'
import { makeSecret } from '../core/secret.ts'

interface Issuable {
  jti?: string
  format?: string
  clientId?: string
  accountId?: string
  scope?: string
  aud?: string | string[]
  /** Of tokens that were saved before. */
  exp?: number
  /** Seconds; the engine keeps there what `expiration` settles. */
  expiresIn?: number
  readonly expiration: number
  generateTokenId(): string
  save(): Promise<string>
}

/**
 * Where the engine has no setting for what we need, its models are adjusted here, once per engine:
 * how values are spelled, what is narrowed before it is given out, and how secrets are compared.
 */
export function adjustModels(provider: Provider, core: Core): void {
  spellLikeOurs(provider, core)
  narrowScopes(provider, core)
  boundLifetimes(provider, core)
  compareSecretsByDigest(provider, core)
  checkReplaysAtomically(provider, core)
  persistNewSessions(provider)
}

/** Values have our own format, so that a leak scanner knows them; ids of JWTs and grants are ours. */
function spellLikeOurs(provider: Provider, core: Core): void {
  const spell = (model: { prototype: object }, kind: string) => {
    const prototype = model.prototype as Issuable
    const original = prototype.generateTokenId
    prototype.generateTokenId = function (this: Issuable) {
      // The engine settles the format while it makes an id.
      original.call(this)
      if (this.format === 'jwt') return core.oauth.newId()
      return makeSecret('mintmark', kind, core.random)
    }
  }
  spell(provider.AuthorizationCode, 'oauth_code')
  spell(provider.AccessToken, 'oauth_access')
  spell(provider.ClientCredentials, 'oauth_access')
  spell(provider.RefreshToken, 'oauth_refresh')
  const grant = provider.Grant.prototype as unknown as Issuable
  grant.generateTokenId = () => core.oauth.newId()
}

/**
 * No access token carries more than its user holds and its client may ask for at this moment,
 * whatever was granted earlier.
 */
function narrowScopes(provider: Provider, core: Core): void {
  for (const model of [provider.AccessToken, provider.ClientCredentials]) {
    const prototype = model.prototype as unknown as Issuable
    const original = prototype.save
    prototype.save = async function (this: Issuable) {
      const asked = this.scope?.split(' ').filter(Boolean) ?? []
      const client = await core.clients.byClientId(this.clientId ?? '')
      if (client === undefined) throw new errors.InvalidClient('client not found')
      const ownerId = (this.accountId as UserId | undefined) ?? client.serviceUserId
      const held = await core.oauth.heldScopes({ ownerId, client, scopes: asked })
      if (asked.length > 0 && held.length === 0) {
        throw new errors.InvalidScope('none of the requested scopes is held', asked.join(' '))
      }
      this.scope = held.join(' ')
      return original.call(this)
    }
  }
}

/** What the client is told of a token's lifetime, and what a JWT says, is what the policy lets it be. */
function boundLifetimes(provider: Provider, core: Core): void {
  const models = [
    [provider.AuthorizationCode, 'oauth_code'],
    [provider.AccessToken, 'oauth_access'],
    [provider.ClientCredentials, 'oauth_access'],
    [provider.RefreshToken, 'oauth_refresh'],
  ] as const
  for (const [model, kind] of models) {
    const prototype = model.prototype as unknown as Issuable
    const original = prototype.save
    prototype.save = async function (this: Issuable) {
      if (this.exp !== undefined) return original.call(this)
      const client = await core.clients.byClientId(this.clientId ?? '')
      const ownerId = (this.accountId as UserId | undefined) ?? client?.serviceUserId
      const longest = ownerId && (await core.oauth.longestTtlSeconds({ ownerId, kind }))
      if (longest !== undefined) this.expiresIn = Math.min(this.expiration, longest)
      return original.call(this)
    }
  }
}

/** Only a digest of a client's secret is stored, so the engine cannot compare texts. */
function compareSecretsByDigest(provider: Provider, core: Core): void {
  const prototype = provider.Client.prototype as unknown as {
    clientId: string
    compareClientSecret(presented: string): Promise<boolean>
  }
  prototype.compareClientSecret = async function (this: { clientId: string }, presented) {
    const client = await core.clients.byClientId(this.clientId)
    return client !== undefined && core.clients.secretMatches(client, presented)
  }
  // The engine's own word for "who `sub` is depends on the client": see `subjectOf` in core.
  const model = provider.Client as unknown as {
    find(id: string): Promise<{ subjectType: string } | undefined>
  }
  const find = model.find.bind(model)
  model.find = async (id) => {
    const client = await find(id)
    if (client !== undefined) client.subjectType = 'pairwise'
    return client
  }
}

/** Looking first and saving afterwards would let two racing requests both be the first. */
function checkReplaysAtomically(provider: Provider, core: Core): void {
  const model = provider.ReplayDetection as unknown as {
    unique(issuer: string, id: string, expiresAt: number): Promise<boolean>
  }
  model.unique = (issuer, id, expiresAt) => isFirstUse(core, { issuer, id, expiresAt })
}

/**
 * The device form makes a session while it tells of a problem, and the engine then expects it to have
 * been saved before. Nobody holds the cookie of such a session, so there is nothing to save.
 */
function persistNewSessions(provider: Provider): void {
  const prototype = provider.Session.prototype as unknown as {
    exp?: number
    persist(): Promise<unknown>
  }
  const original = prototype.persist
  prototype.persist = async function (this: { exp?: number }) {
    return typeof this.exp === 'number' ? original.call(this) : undefined
  }
}

/** Whether a one-time JWT is seen for the first time; `expiresAt` in seconds. */
export async function isFirstUse(
  core: Core,
  { issuer, id, expiresAt }: { issuer: string; id: string; expiresAt: number },
): Promise<boolean> {
  const ttlMs = Math.max(1000, expiresAt * 1000 - Date.now())
  return core.oauth.addRecord({
    model: 'ReplayDetection',
    id: JSON.stringify([issuer, id]),
    payload: {},
    expiresAtMs: core.clock.now() + ttlMs,
  })
}
