import Provider, { type Adapter, type AdapterPayload, errors } from 'oidc-provider'
import type { Core } from '../core/core.ts'
import type { ClientId, GrantId, TokenId, UserId } from '../core/id.ts'
import type { EngineToken, OauthKind } from '../core/oauth/tokens.ts'
import { Secret } from '../core/secret.ts'
import type { Token } from '../core/tokens/token.ts'
import { clientMetadata } from './client-metadata.ts'
import { type PollWatch, pollWatch } from './polling.ts'
import { currentRequest } from './request.ts'
import { unitOf } from './unit.ts'

type Payload = Record<string, unknown>

/** The engine's models that are tokens of ours. */
const KINDS: Record<string, OauthKind> = {
  AuthorizationCode: 'oauth_code',
  AccessToken: 'oauth_access',
  ClientCredentials: 'oauth_access',
  RefreshToken: 'oauth_refresh',
}

/** The engine's models that only live while a browser or a device is busy. */
const RECORDS = new Set([
  'Session',
  'Interaction',
  'DeviceCode',
  'PushedAuthorizationRequest',
  'ReplayDetection',
])

/**
 * The engine's storage is our store: tokens are rows of the one inventory, grants those that users
 * see and withdraw, the rest sealed records. An id that opens something is stored as a digest alone.
 */
export function adapterFor(core: Core): (model: string) => Adapter {
  const pollsTooFast = pollWatch()
  return (model) => {
    if (model === 'Client') return clientAdapter(core)
    if (model === 'Grant') return grantAdapter(core)
    const kind = KINDS[model]
    if (kind !== undefined) return tokenAdapter(core, model, kind)
    if (RECORDS.has(model)) return recordAdapter(core, { model, pollsTooFast })
    throw new Error(`The engine wants to store ${model}, for which there is no place.`)
  }
}

/** What no model of this kind is ever asked for. */
const NOTHING: Adapter = {
  async upsert() {},
  async find() {},
  async findByUserCode() {},
  async findByUid() {},
  async consume() {},
  async destroy() {},
  async revokeByGrantId() {},
}

function clientAdapter(core: Core): Adapter {
  return {
    ...NOTHING,
    async find(clientId) {
      const client = await core.clients.byClientId(clientId)
      return client?.active ? clientMetadata(client) : undefined
    },
  }
}

const seconds = (ms: number) => Math.floor(ms / 1000)
/** The engine counts in seconds of the machine's clock; we store by ours. */
const engineExpiry = (core: Core, atMs: number) => seconds(Date.now() + (atMs - core.clock.now()))

function withoutId({ jti: _, ...payload }: AdapterPayload): Payload {
  return payload
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function grantAdapter(core: Core): Adapter {
  return {
    ...NOTHING,
    async upsert(id, payload, expiresIn = 0) {
      const { origin, login } = currentRequest()
      const client = await core.clients.byClientId(String(payload.clientId))
      if (client === undefined) throw new errors.InvalidClient('client not found')
      const known = await core.oauth.findGrant(id as GrantId)
      const session = await login()
      await core.oauth.saveGrant({
        origin,
        grant: {
          id: id as GrantId,
          userId: payload.accountId as UserId,
          clientId: client.id,
          sessionId: known?.grant.sessionId ?? session?.token.id,
          ...coverageOf(payload),
          expiresAtMs: core.clock.now() + expiresIn * 1000,
        },
        record: withoutId(payload),
      })
    },
    async find(id) {
      const found = await core.oauth.findGrant(id as GrantId)
      if (found === undefined) return undefined
      return { ...found.record, jti: id, exp: engineExpiry(core, found.grant.expiresAtMs) }
    },
    async destroy(id) {
      if (unitOf(Provider.ctx) !== undefined) return
      const { origin } = currentRequest()
      await core.oauth.revokeGrant({ origin, id: id as GrantId, reason: 'grant ended' })
    },
  }
}

/** Scopes and resources that a grant covers, less those that its user refused. */
function coverageOf(payload: AdapterPayload): { scopes: string[]; resources: string[] } {
  const {
    openid,
    resources = {},
    rejected,
  } = payload as {
    openid?: { scope?: string }
    resources?: Record<string, string>
    rejected?: { openid?: { scope?: string }; resources?: Record<string, string> }
  }
  const words = (value: string | undefined) => value?.split(' ').filter(Boolean) ?? []
  const refused = new Set([
    ...words(rejected?.openid?.scope),
    ...Object.values(rejected?.resources ?? {}).flatMap(words),
  ])
  const scopes = [...words(openid?.scope), ...Object.values(resources).flatMap(words)]
  return {
    scopes: [...new Set(scopes)].filter((scope) => !refused.has(scope)),
    resources: Object.keys(resources),
  }
}

function tokenAdapter(core: Core, model: string, kind: OauthKind): Adapter {
  async function revokeGrant(grantId: string | undefined): Promise<void> {
    if (grantId === undefined) return
    const unit = unitOf(Provider.ctx)
    if (unit !== undefined) {
      unit.reused = true
      unit.grantId = grantId
      return
    }
    const { origin } = currentRequest()
    await core.oauth.revokeGrant({ origin, id: grantId as GrantId, reason: 'grant ended' })
  }

  return {
    ...NOTHING,
    async upsert(id, payload, expiresIn = 0) {
      const token = await engineToken(core, { kind, payload, expiresIn, secret: new Secret(id) })
      const unit = unitOf(Provider.ctx)
      if (unit !== undefined) unit.saves.push(token)
      else await core.oauth.saveToken({ origin: currentRequest().origin, token })
    },
    async find(id) {
      const found = await core.oauth.findUsableToken(id, kind)
      if (found === undefined || found.record.kind !== model) return undefined
      const { token, record } = found
      // The engine's tolerance is for the clocks of others; this one is ours.
      if (kind === 'oauth_access' && isOver(core, token)) return undefined
      // A redirect URI that was taken out since gets nothing more.
      const { redirectUri } = record
      const { client } = Provider.ctx?.oidc ?? {}
      if (typeof redirectUri === 'string' && client?.redirectUriAllowed(redirectUri) === false) {
        return undefined
      }
      const unit = unitOf(Provider.ctx)
      if (unit !== undefined && kind !== 'oauth_access') unit.presented = token
      return {
        ...record,
        jti: id,
        exp: engineExpiry(core, token.expiresAtMs ?? 0),
        ...(token.supersededAtMs === undefined ? {} : { consumed: seconds(token.supersededAtMs) }),
      }
    },
    async consume(id) {
      const found = await core.oauth.findUsableToken(id, kind)
      const unit = unitOf(Provider.ctx)
      if (found === undefined || unit === undefined) {
        throw new errors.InvalidGrant(`${model} cannot be redeemed`)
      }
      unit.spends = found.token
    },
    async destroy(id) {
      const found = await core.oauth.findToken(id, kind)
      await revokeGrant(found?.token.familyId)
    },
    revokeByGrantId: revokeGrant,
  }
}

function isOver(core: Core, { expiresAtMs }: Token): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= core.clock.now()
}

/** A token as the engine describes it; the caller has checked nothing of it yet. */
export async function engineToken(
  core: Core,
  wish: {
    kind: OauthKind
    payload: AdapterPayload
    expiresIn: number
    /** Undefined for a JWT, whose `jti` is our id. */
    secret: Secret | undefined
  },
): Promise<EngineToken> {
  const { kind, payload, expiresIn, secret } = wish
  const client = await core.clients.byClientId(String(payload.clientId))
  if (client === undefined) throw new errors.InvalidClient('client not found')
  const grantId = text(payload.grantId) as GrantId | undefined
  return {
    id: secret === undefined ? (String(payload.jti) as TokenId) : (core.oauth.newId() as TokenId),
    kind,
    secret,
    clientId: client.id as ClientId,
    ownerId: (text(payload.accountId) as UserId | undefined) ?? client.serviceUserId,
    grantId,
    parentId: grantId === undefined ? undefined : await loginOf(core, grantId),
    scopes: text(payload.scope)?.split(' ') ?? [],
    audience: [payload.aud].flat()[0],
    boundKey: text(payload.jkt),
    expiresAtMs: core.clock.now() + expiresIn * 1000,
    record: withoutId(payload),
  }
}

/** What a user does not let outlive the login (`offline_access`) ends with it. */
async function loginOf(core: Core, id: GrantId): Promise<TokenId | undefined> {
  const found = await core.oauth.findGrant(id)
  return found?.grant.scopes.includes('offline_access') ? undefined : found?.grant.sessionId
}

function recordAdapter(
  core: Core,
  { model, pollsTooFast }: { model: string; pollsTooFast: PollWatch },
): Adapter {
  const payloadOf = (
    id: string | undefined,
    found: Awaited<ReturnType<typeof core.oauth.findRecord>>,
  ): AdapterPayload | undefined =>
    found === undefined
      ? undefined
      : {
          ...found.payload,
          ...(id === undefined ? {} : { jti: id }),
          exp: engineExpiry(core, found.expiresAtMs),
          ...(found.consumedAtMs === undefined ? {} : { consumed: seconds(found.consumedAtMs) }),
        }

  return {
    ...NOTHING,
    async upsert(id, payload, expiresIn = 0) {
      if (model === 'PushedAuthorizationRequest') await mayPush()
      const uid = text(payload.uid)
      const userCode = text(payload.userCode)
      await core.oauth.putRecord({
        model,
        id,
        ...(uid === undefined ? {} : { uid }),
        ...(userCode === undefined ? {} : { userCode }),
        // Found by its other ids, a session or a device code must know its own; it is sealed.
        payload: { ...payload },
        expiresAtMs: core.clock.now() + expiresIn * 1000,
      })
    },
    async find(id) {
      const found = await core.oauth.findRecord({ model, id })
      if (model === 'DeviceCode' && found !== undefined && unitOf(Provider.ctx) !== undefined) {
        const pending = found.payload.accountId === undefined && found.payload.error === undefined
        if (pending && pollsTooFast(id, core.clock.now())) {
          throw new errors.CustomOIDCProviderError('slow_down', 'wait longer between requests')
        }
      }
      return payloadOf(id, found)
    },
    async findByUid(uid) {
      return payloadOf(undefined, await core.oauth.findRecordByUid({ model, uid }))
    },
    async findByUserCode(userCode) {
      return payloadOf(undefined, await core.oauth.findRecordByUserCode({ model, userCode }))
    },
    async consume(id) {
      const unit = unitOf(Provider.ctx)
      if (unit !== undefined) unit.consumes = { model, id }
      else if (!(await core.oauth.consumeRecord({ model, id }))) throw alreadyUsed(model)
    },
    async destroy(id) {
      await core.oauth.removeRecord({ model, id })
    },
  }
}

/** Who pushes for a client that proves nothing could be anybody. */
async function mayPush(): Promise<void> {
  const { client } = Provider.ctx?.oidc ?? {}
  if (client?.clientAuthMethod === 'none') await currentRequest().countAnybodys?.()
}

function alreadyUsed(model: string): Error {
  return model === 'PushedAuthorizationRequest'
    ? new errors.InvalidRequestUri('request_uri is invalid, expired, or was already used')
    : new errors.InvalidGrant(`${model} was already used`)
}
