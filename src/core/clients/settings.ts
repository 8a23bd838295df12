import { CoreError } from '../errors.ts'
import { checkScope } from '../roles/role.ts'
import { checkName } from '../text.ts'
import type { Client, GrantType } from './client.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { checkJwks } from './jwks.ts'
import { checkRedirectUri, checkResource } from './uri.ts'

/** What people decide about a client, as against what comes of its making. */
export type ClientSettings = Omit<
  Client,
  'id' | 'serial' | 'clientId' | 'secretPreview' | 'serviceUserId' | 'createdAtMs' | 'updatedAtMs'
>

/** What is left out when a client is made. */
export const DEFAULT_SETTINGS: Omit<ClientSettings, 'name'> = {
  type: 'confidential',
  jwks: undefined,
  redirectUris: [],
  postLogoutRedirectUris: [],
  grants: ['authorization_code', 'refresh_token'],
  scopes: ['openid', 'profile', 'email', 'offline_access'],
  resources: [],
  serves: [],
  codeTtl: 'minutes=1',
  accessTokenTtl: 'minutes=10',
  refreshTokenTtl: 'days=30',
  subjectMode: 'hashed_user_id',
  signingAlgorithm: 'RS256',
  requirePkce: true,
  applicationSlug: undefined,
  applicationName: undefined,
  active: true,
}

const MAX_SCOPES = 100
const MAX_URIS = 50
const DAY_SECONDS = 86_400

/** Seconds, least and most. A code is redeemed at once (RFC 6749, section 4.1.2). */
const LIFETIMES = {
  codeTtl: [5, 60],
  accessTokenTtl: [30, DAY_SECONDS],
  refreshTokenTtl: [60, 3650 * DAY_SECONDS],
} as const

const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** Checks settings one by one and against each other; lists come back without repetitions. Throws `invalid_input`. */
export function checkSettings(given: ClientSettings): ClientSettings {
  const settings: ClientSettings = {
    ...given,
    name: checkName(given.name, { what: 'The client name', maxLength: 255 }),
    jwks: given.jwks === undefined ? undefined : checkJwks(given.jwks),
    redirectUris: unique(given.redirectUris, MAX_URIS, 'redirect URIs').map((uri) =>
      checkRedirectUri(uri, given.type),
    ),
    postLogoutRedirectUris: unique(
      given.postLogoutRedirectUris,
      MAX_URIS,
      'redirect URIs after logout',
    ).map((uri) => checkRedirectUri(uri, given.type)),
    grants: [...new Set(given.grants)],
    scopes: unique(given.scopes, MAX_SCOPES, 'scopes').map(checkScope),
    resources: unique(given.resources, MAX_URIS, 'resources').map(checkResource),
    serves: unique(given.serves, MAX_URIS, 'resources that it serves').map(checkResource),
    ...applicationOf(given),
  }
  checkLifetimes(settings)
  if (settings.type === 'public') mustSuitPublic(settings)
  mustBeUsable(settings)
  return settings
}

function unique(list: readonly string[], most: number, what: string): string[] {
  const different = [...new Set(list)]
  if (different.length <= most) return different
  throw new CoreError('invalid_input', `A client has at most ${most} ${what}.`)
}

function checkLifetimes(settings: ClientSettings): void {
  for (const name of ['codeTtl', 'accessTokenTtl', 'refreshTokenTtl'] as const) {
    const [least, most] = LIFETIMES[name]
    const seconds = parseDuration(settings[name])
    if (seconds >= least && seconds <= most) continue
    throw new CoreError(
      'invalid_input',
      `${name} must be from ${formatDuration(least)} to ${formatDuration(most)}.`,
    )
  }
}

/** A public client cannot keep a secret, so it proves nothing about itself (RFC 6749, section 2.1). */
function mustSuitPublic({ grants, jwks, requirePkce }: ClientSettings): void {
  const own: GrantType[] = ['client_credentials', TOKEN_EXCHANGE]
  if (own.some((grant) => grants.includes(grant))) {
    throw new CoreError(
      'invalid_input',
      'A public client cannot have the grants client_credentials and token-exchange, which need a client that authenticates.',
    )
  }
  if (jwks !== undefined) {
    throw new CoreError('invalid_input', 'A public client has no keys. Leave jwks out.')
  }
  if (!requirePkce) {
    throw new CoreError('invalid_input', 'A public client must use PKCE.')
  }
}

function mustBeUsable({ grants, redirectUris }: ClientSettings): void {
  if (grants.includes('authorization_code') && redirectUris.length === 0) {
    throw new CoreError(
      'invalid_input',
      'The grant authorization_code needs a redirect URI. Give one, or other grants.',
    )
  }
  const givesRefresh = grants.includes('authorization_code') || grants.includes(DEVICE_CODE)
  if (grants.includes('refresh_token') && !givesRefresh) {
    throw new CoreError(
      'invalid_input',
      'The grant refresh_token needs authorization_code or device_code, which give refresh tokens.',
    )
  }
}

const SLUG = /^[-a-zA-Z0-9_]{1,50}$/

/** The application that authentik's clients see beside a provider: a name and a slug, or neither. */
function applicationOf({
  applicationName,
  applicationSlug,
}: ClientSettings): Pick<ClientSettings, 'applicationName' | 'applicationSlug'> {
  if (applicationName === undefined) {
    if (applicationSlug === undefined) return { applicationName, applicationSlug }
    throw new CoreError('invalid_input', 'An applicationSlug needs an applicationName.')
  }
  const name = checkName(applicationName, { what: 'The application name', maxLength: 255 })
  const slug = applicationSlug ?? slugOf(name)
  if (SLUG.test(slug)) return { applicationName: name, applicationSlug: slug }
  throw new CoreError(
    'invalid_input',
    'An applicationSlug has 1 to 50 characters of A-Z a-z 0-9 _ -. Give one that fits.',
  )
}

/** `Mein Büro (2)` → `mein-buro-2` */
function slugOf(name: string): string {
  const ascii = name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  return ascii
    .replace(/[^a-z0-9_]+/g, '-')
    .replace(/^-/, '')
    .slice(0, 50)
    .replace(/-$/, '')
}
