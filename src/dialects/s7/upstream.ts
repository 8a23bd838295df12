import * as openid from 'openid-client'
import { CoreError } from '../../core/errors.ts'
import type { UpstreamIdentity } from '../../core/users/sign-in.ts'
import type { ApiParts } from '../../http/parts.ts'

type Settings = NonNullable<ApiParts['config']['upstream']>

/** What the browser's cookie remembers of a sign-in under way. */
export interface Challenge {
  state: string
  nonce: string
  verifier: string
}

/** What a sign-in brings back, and what it must fit. */
export interface Proof {
  redirectUri: string
  code: string
  /** Who answered, if the answer says so (RFC 9207). */
  issuer: string | undefined
  /** Sent and expected; undefined where the client application checks it itself. */
  state: { sent: string; expected: string } | undefined
  nonce: string
  verifier: string
}

/** The OpenID provider behind the browser sign-in. Throws `not_configured`, `upstream_failed`. */
export interface Upstream {
  settings(): Settings
  /** The address that asks the provider to sign somebody in. */
  begin(redirectUri: string): Promise<{ url: string; challenge: Challenge }>
  /** Also throws `login_failed` when the proof does not fit or the provider does not vouch. */
  finish(proof: Proof): Promise<UpstreamIdentity>
}

const SCOPE = 'openid email profile'

/** Nothing is asked of the provider before somebody signs in; an outage then is not an outage now. */
export function upstreamProvider(given: Settings | undefined, timeoutSeconds = 5): Upstream {
  let discovered: Promise<openid.Configuration> | undefined

  function settings(): Settings {
    if (given !== undefined) return given
    throw new CoreError(
      'not_configured',
      'Sign-in through an identity provider is off. Set MINTMARK_UPSTREAM_ISSUER and MINTMARK_UPSTREAM_CLIENT_ID.',
    )
  }

  /** Kept once it worked; tried again after a failure. */
  function provider(): Promise<openid.Configuration> {
    discovered ??= discover(settings(), timeoutSeconds).catch((error: unknown) => {
      discovered = undefined
      throw error
    })
    return discovered
  }

  return {
    settings,
    begin: (redirectUri) =>
      within(timeoutSeconds, async () => {
        const challenge: Challenge = {
          state: openid.randomState(),
          nonce: openid.randomNonce(),
          verifier: openid.randomPKCECodeVerifier(),
        }
        const url = openid.buildAuthorizationUrl(await provider(), {
          redirect_uri: redirectUri,
          scope: SCOPE,
          state: challenge.state,
          nonce: challenge.nonce,
          code_challenge: await openid.calculatePKCECodeChallenge(challenge.verifier),
          code_challenge_method: 'S256',
        })
        return { url: url.href, challenge }
      }),
    finish: (proof) =>
      within(timeoutSeconds, async () => {
        const { usernameClaim } = settings()
        return identityOf(await claimsOf(await provider(), proof, usernameClaim), usernameClaim)
      }),
  }
}

async function discover(settings: Settings, timeoutSeconds: number): Promise<openid.Configuration> {
  const issuer = new URL(settings.issuer)
  const isPlain = issuer.protocol === 'http:'
  if (isPlain && !isLoopback(issuer.hostname)) {
    throw new CoreError(
      'not_configured',
      'MINTMARK_UPSTREAM_ISSUER must be an https URL; http is for a provider on this machine.',
    )
  }
  return openid.discovery(issuer, settings.clientId, settings.clientSecret?.reveal(), undefined, {
    timeout: timeoutSeconds,
    // The signature of the ID token is checked too, although it came straight from the provider.
    execute: [
      openid.enableNonRepudiationChecks,
      ...(isPlain ? [openid.allowInsecureRequests] : []),
    ],
  })
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

type Claims = Record<string, unknown> & { iss: string; sub: string }

/** Claims of the ID token; where it does not name the user, those of the userinfo endpoint. */
async function claimsOf(
  provider: openid.Configuration,
  { redirectUri, code, issuer, state, nonce, verifier }: Proof,
  usernameClaim: string,
): Promise<Claims> {
  const answer = new URL(redirectUri)
  answer.search = ''
  answer.searchParams.set('code', code)
  // Clients of `POST /login` pass no issuer on; they talk to one provider only, this one.
  const from = state === undefined ? provider.serverMetadata().issuer : issuer
  if (from !== undefined) answer.searchParams.set('iss', from)
  if (state !== undefined) answer.searchParams.set('state', state.sent)
  const tokens = await openid.authorizationCodeGrant(provider, answer, {
    pkceCodeVerifier: verifier,
    expectedNonce: nonce,
    idTokenExpected: true,
    ...(state === undefined ? {} : { expectedState: state.expected }),
  })
  const claims = tokens.claims()
  if (claims === undefined) throw notVouched('The identity provider sent no ID token.')
  if (claims[usernameClaim] !== undefined) return claims
  if (provider.serverMetadata().userinfo_endpoint === undefined) return claims
  const more = await openid.fetchUserInfo(provider, tokens.access_token, claims.sub)
  return { ...more, iss: claims.iss, sub: claims.sub }
}

/** The one claim that names the user; an email counts only once the provider has verified it. */
function identityOf(claims: Claims, usernameClaim: string): UpstreamIdentity {
  const username = claims[usernameClaim]
  if (typeof username !== 'string' || username === '') {
    throw notVouched(`The identity provider does not tell the claim "${usernameClaim}".`)
  }
  if (usernameClaim === 'email' && claims.email_verified !== true) {
    throw notVouched('The identity provider has not verified this email address.')
  }
  const { iss: issuer, sub: subject, name } = claims
  return { issuer, subject, username, displayName: typeof name === 'string' ? name : undefined }
}

function notVouched(message: string): CoreError {
  return new CoreError('login_failed', message)
}

/** One deadline over all the calls that `work` makes; each call also has its own, so none lingers. */
async function within<T>(timeoutSeconds: number, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('timed out')), timeoutSeconds * 1000)
  })
  try {
    return await Promise.race([work(), late])
  } catch (error) {
    throw translated(error)
  } finally {
    clearTimeout(timer)
  }
}

/** What the library says when the person's proof is wrong, rather than the provider. */
const BAD_PROOF = new Set([
  'OAUTH_AUTHORIZATION_RESPONSE_ERROR',
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
])

function translated(error: unknown): unknown {
  if (error instanceof CoreError) return error
  const reason = reasonOf(error)
  const spentCode = error instanceof openid.ResponseBodyError && error.error === 'invalid_grant'
  if (spentCode || BAD_PROOF.has(reason)) {
    return new CoreError('login_failed', 'The sign-in is not valid any more. Start it again.', {
      detail: { reason },
    })
  }
  return new CoreError(
    'upstream_failed',
    'The identity provider does not answer as it should. Try again later.',
    { detail: { reason } },
  )
}

/** For the log. Only the code: causes hold whole answers, tokens included. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  if (error instanceof openid.ResponseBodyError) return `${error.code}:${error.error}`
  const { code } = { code: undefined, ...error }
  return typeof code === 'string' ? code : (causeCode(error) ?? error.message)
}

function causeCode({ cause }: Error): string | undefined {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' ? code : undefined
}
