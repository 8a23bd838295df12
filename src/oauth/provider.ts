import type { FastifyBaseLogger } from 'fastify'
import Provider, {
  type AccessToken,
  type ClientCredentials,
  errors,
  type JWTStructured,
  type KoaContextWithOIDC,
} from 'oidc-provider'
import { API_SCOPES, STANDARD_SCOPES } from '../core/clients/client.ts'
import type { TokenReader } from '../http/auth.ts'
import { accounts, CLAIMS } from './accounts.ts'
import { adapterFor, engineToken } from './adapter.ts'
import { awaitNodes } from './await-nodes.ts'
import { isPlausibleAssertion } from './client-auth.ts'
import { ownMetadata } from './client-metadata.ts'
import { logEngine } from './engine-log.ts'
import { enginePages } from './engine-pages.ts'
import { signingJwks } from './keys.ts'
import { adjustModels } from './models.ts'
import { grantFinder, interactionRules } from './policy.ts'
import { ROUTES } from './routes.ts'
import { answerRefusal, tokenEndpoint } from './token-endpoint.ts'
import { actorClaim, EXCHANGE_PARAMETERS, TOKEN_EXCHANGE, tokenExchange } from './token-exchange.ts'
import { sayUnauthorized } from './unauthorized.ts'
import { unitOf } from './unit.ts'

export interface EngineSettings {
  issuer: string
  /** How long a repeated refresh gets the same answer again. */
  graceSeconds: number
  /** Every scope that a client may ask for. */
  scopes: ReadonlySet<string>
  /** How long a login lasts at most. */
  sessionSeconds: number
  log: FastifyBaseLogger
}

const INTERACTION_SECONDS = 1800
const DEVICE_CODE_SECONDS = 600
const ID_TOKEN_SECONDS = 3600
/** A grant outlives the last refresh token that comes of it. */
const GRANT_MARGIN_SECONDS = 3600

/** The certified engine, set up for us. It keeps no state of its own, so it can be built anew any time. */
export function createProvider(parts: TokenReader, settings: EngineSettings): Provider {
  const { core } = parts
  const { issuer, graceSeconds } = settings
  const { find, subject } = accounts(core)
  const isHttps = issuer.startsWith('https:')
  const cookie = { httpOnly: true, sameSite: 'lax', secure: isHttps, signed: true } as const

  const provider: Provider = new Provider(issuer, {
    adapter: adapterFor(core),
    routes: ROUTES,
    jwks: signingJwks(core.keyring),
    cookies: {
      names: {
        session: 'mintmark_oauth_session',
        interaction: 'mintmark_oauth_interaction',
        resume: 'mintmark_oauth_resume',
      },
      long: cookie,
      short: cookie,
      keys: [core.keyring.derived('engine-cookie').toString('base64url')],
    },
    scopes: [...STANDARD_SCOPES, ...API_SCOPES, ...settings.scopes],
    claims: CLAIMS,
    subjectTypes: ['public', 'pairwise'],
    pairwiseIdentifier: subject,
    findAccount: find,
    responseTypes: ['code'],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    clientDefaults: { id_token_signed_response_alg: 'RS256' },
    clockTolerance: 5,
    assertJwtClientAuthClaimsAndHeader: async (_, claims, { b64 }) => {
      // An unencoded payload is nothing for a JWT (RFC 7797, section 7).
      if (b64 === undefined && isPlausibleAssertion(claims, Date.now())) return
      throw new errors.InvalidClientAuth('the assertion is not of now, lives too long or is no JWT')
    },
    enabledJWA: {
      clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'Ed25519', 'EdDSA'],
      idTokenSigningAlgValues: ['RS256', 'ES256'],
      dPoPSigningAlgValues: ['ES256', 'Ed25519', 'EdDSA'],
    },
    extraClientMetadata: { properties: ['mintmark'], validator() {} },
    pkce: { required: (_, client) => ownMetadata(client).requirePkce },
    allowOmittingSingleRegisteredRedirectUri: false,
    interactions: {
      policy: interactionRules(),
      url: (_, { uid }) => `/oauth2/interaction/${uid}`,
    },
    loadExistingGrant: grantFinder(() => provider, core),
    // Who registered for refresh tokens gets them; without offline_access they end with the login.
    issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
    // What ends with a login hangs on our own record of it; see `loginOf` in adapter.ts.
    expiresWithSession: async () => false,
    rotateRefreshToken: true,
    revokeGrantPolicy: () => true,
    clientBasedCORS: (_, origin, client) =>
      origin !== 'null' &&
      (client.redirectUris?.some((uri) => URL.parse(uri)?.origin === origin) ?? false),
    extraTokenClaims: async (ctx) => actorClaim(ctx),
    formats: { customizers: { jwt: (ctx, token, jwt) => saveJwt(parts, { ctx, token, jwt }) } },
    renderError: enginePages.error,
    discovery: {
      introspection_endpoint: `${issuer}${ROUTES.introspection}`,
      revocation_endpoint: `${issuer}${ROUTES.revocation}`,
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: enginePages.deviceInput,
        userCodeConfirmSource: enginePages.deviceConfirm,
        successSource: enginePages.deviceSuccess,
        deviceInfo: enginePages.deviceInfo,
      },
      dPoP: { enabled: true, nonceSecret: core.keyring.derived('dpop-nonce') },
      pushedAuthorizationRequests: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_, __, oneOf) => oneOf ?? [],
        useGrantedResource: async () => true,
        getResourceServerInfo: async (_, resource, { clientId, mintmark }) =>
          resourceServer(parts, {
            clientId,
            resource,
            ttl: ownMetadata({ mintmark }).accessTokenTtl,
          }),
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: enginePages.logout,
        postLogoutSuccessSource: enginePages.loggedOut,
      },
      userinfo: { enabled: true },
    },
    ttl: {
      AuthorizationCode: (_, __, client) => ownMetadata(client).codeTtl,
      AccessToken: (_, __, client) => ownMetadata(client).accessTokenTtl,
      ClientCredentials: (_, __, client) => ownMetadata(client).accessTokenTtl,
      // Rotation does not prolong it (RFC 9700, section 4.14.2).
      RefreshToken: ({ oidc }, _, client) =>
        oidc.entities.RotatedRefreshToken?.remainingTTL ?? ownMetadata(client).refreshTokenTtl,
      Grant: ({ oidc }) => grantSeconds(ownMetadata(oidc.client)),
      DeviceCode: DEVICE_CODE_SECONDS,
      IdToken: ID_TOKEN_SECONDS,
      Interaction: INTERACTION_SECONDS,
      Session: settings.sessionSeconds,
    },
  })
  // Nothing of what a caller says about host and scheme counts; mount.ts sets them as configured.
  provider.proxy = true
  adjustModels(provider, core)
  provider.registerGrantType(
    TOKEN_EXCHANGE,
    tokenExchange(() => provider, parts),
    EXCHANGE_PARAMETERS,
    ['resource', 'audience'],
  )
  // The outermost, so that it waits for what the others change.
  provider.use(awaitNodes as never)
  provider.use(onlyWhatWorks as never)
  provider.use(sayUnauthorized as never)
  provider.use(tokenEndpoint(core, { issuer, path: ROUTES.token, graceSeconds }) as never)
  provider.on('server_error', answerRefusal)
  logEngine(provider, settings.log)
  return provider
}

/** How long a grant lasts: as long as what may come of it. */
export function grantSeconds(own: { refreshTokenTtl: number; accessTokenTtl: number }): number {
  return Math.max(own.refreshTokenTtl, own.accessTokenTtl) + GRANT_MARGIN_SECONDS
}

/** A resource that the client may ask tokens for; they are JWTs (RFC 9068) that it checks by itself. */
async function resourceServer(
  { core }: TokenReader,
  { clientId, resource, ttl }: { clientId: string; resource: string; ttl: number },
) {
  const client = await core.clients.byClientId(clientId)
  if (!client?.resources.includes(resource)) {
    throw new errors.InvalidTarget('this client has no access to that resource')
  }
  const standard = new Set<string>(STANDARD_SCOPES)
  return {
    scope: client.scopes.filter((scope) => !standard.has(scope)).join(' '),
    audience: resource,
    accessTokenTTL: ttl,
    accessTokenFormat: 'jwt' as const,
    jwt: { sign: { alg: client.signingAlgorithm } },
  }
}

/** JWTs are not stored by the engine; in our inventory they are like all others. */
async function saveJwt(
  { core }: TokenReader,
  {
    ctx,
    token,
    jwt,
  }: { ctx: KoaContextWithOIDC; token: AccessToken | ClientCredentials; jwt: JWTStructured },
): Promise<void> {
  const unit = unitOf(ctx)
  if (unit === undefined) throw new Error('A JWT was made outside of the token endpoint.')
  const { payload } = jwt
  const record = {
    ...payload,
    kind: token.kind,
    clientId: payload.client_id,
    accountId: (token as AccessToken).accountId,
    grantId: (token as AccessToken).grantId,
    jkt: token.jkt,
  }
  unit.saves.push(
    await engineToken(core, {
      kind: 'oauth_access',
      payload: record as never,
      expiresIn: Number(payload.exp) - Math.floor(Date.now() / 1000),
      secret: undefined,
    }),
  )
}

/** Discovery lists what every client may use; which scopes an organisation made up is not for strangers. */
async function onlyWhatWorks(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  await next()
  if (ctx.oidc?.route !== 'discovery' || ctx.status !== 200) return
  const body = ctx.body as Record<string, unknown>
  body.scopes_supported = [...STANDARD_SCOPES, ...API_SCOPES]
  body.subject_types_supported = ['public']
  body.introspection_endpoint_auth_methods_supported = [
    'client_secret_basic',
    'client_secret_post',
    'private_key_jwt',
  ]
  body.revocation_endpoint_auth_methods_supported = body.token_endpoint_auth_methods_supported
  const algorithms = body.token_endpoint_auth_signing_alg_values_supported
  body.introspection_endpoint_auth_signing_alg_values_supported = algorithms
  body.revocation_endpoint_auth_signing_alg_values_supported = algorithms
}
