import type { Client } from '../../core/clients/client.ts'
import { CoreError } from '../../core/errors.ts'
import type { GroupOfUser } from '../../core/groups/store.ts'
import type { ClientToken } from '../../core/tokens/oauth-read.ts'
import type { ClientTokenOrder } from '../../core/tokens/store.ts'
import type { Token } from '../../core/tokens/token.ts'
import { SAYINGS } from './errors.ts'
import type { Family } from './families.ts'
import type {
  ExpiringBaseGrantModel,
  ListQuery,
  OAuth2Provider,
  Pagination,
  TokenModel,
  User,
  UserGroup,
} from './wire.ts'

const DEFAULT_PAGE_SIZE = 100
const MAX_PAGE_SIZE = 1000
/** The original's rows, and the ids in its Go client, are 32 bits wide. */
const MAX_SERIAL = 2 ** 31 - 1

/** We have no flows: the one behind "log in and consent" is always this. */
const AUTHORIZATION_FLOW = 'c81ff14a-4f5f-5d7f-9c84-2f3e3c5d6f10'
/** A grey head and shoulders, in the page itself: no request tells anybody who looks at whom. */
const AVATAR = `data:image/svg+xml;base64,${Buffer.from(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" fill="#d0d5dd"/><circle cx="32" cy="25" r="11" fill="#667085"/><path d="M10 60a22 22 0 0 1 44 0z" fill="#667085"/></svg>',
).toString('base64')}`

/** With microseconds, or without a fraction, as Python writes it. */
export function instant(ms: number): string {
  return new Date(ms).toISOString().replace(/\.(\d{3})Z$/, (_, fraction: string) => {
    return fraction === '000' ? 'Z' : `.${fraction}000Z`
  })
}

function instantOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : instant(ms)
}

/** A refresh or access token as this wire shows it; the token value has no place here. */
export function tokenOut(shown: ClientToken, nowMs: number): TokenModel {
  return {
    ...grantOut(shown, nowMs),
    id_token: idTokenOut(shown.idClaims),
    revoked: shown.token.supersededAtMs !== undefined,
  }
}

/** An authorization code, or what a token has in common with it. */
export function grantOut(shown: ClientToken, nowMs: number): ExpiringBaseGrantModel {
  const { token, client } = shown
  return {
    pk: token.serial ?? 0,
    provider: providerOut(client),
    user: userOut(shown),
    is_expired: isExpired(token, nowMs),
    expires: instantOrNull(token.expiresAtMs),
    scope: [...(token.limits.scopes ?? [])],
  }
}

/** By its time alone: what was rotated away expires, too. */
function isExpired({ expiresAtMs }: Token, nowMs: number): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= nowMs
}

/** The claims as JSON in a text, the way Python prints them. */
function idTokenOut(claims: Record<string, unknown>): string {
  const given = Object.entries(claims).filter(([, value]) => value !== null)
  return JSON.stringify(Object.fromEntries(given), undefined, 4)
}

function providerOut(client: Client): OAuth2Provider {
  return {
    pk: client.serial,
    name: client.name,
    authentication_flow: null,
    authorization_flow: AUTHORIZATION_FLOW,
    property_mappings: [],
    component: 'ak-provider-oauth2-form',
    assigned_application_slug: client.applicationSlug ?? '',
    assigned_application_name: client.applicationName ?? '',
    assigned_backchannel_application_slug: '',
    assigned_backchannel_application_name: '',
    verbose_name: 'OAuth2/OpenID Provider',
    verbose_name_plural: 'OAuth2/OpenID Providers',
    meta_model_name: 'authentik_providers_oauth2.oauth2provider',
    client_type: client.type,
    client_id: client.clientId,
    // The original shows it to whoever owns a token. We could not if we wanted: we keep a digest.
    client_secret: '',
    access_code_validity: client.codeTtl,
    access_token_validity: client.accessTokenTtl,
    refresh_token_validity: client.refreshTokenTtl,
    include_claims_in_id_token: true,
    signing_key: null,
    redirect_uris: client.redirectUris.join('\n'),
    sub_mode: client.subjectMode,
    issuer_mode: 'global',
    jwks_sources: [],
  }
}

function userOut({ owner, ownerHash, groups }: ClientToken): User {
  return {
    pk: owner.serial,
    username: owner.username,
    name: owner.displayName,
    is_active: owner.active,
    last_login: instantOrNull(owner.lastLoginAtMs),
    is_superuser: owner.globalRole === 'ADMIN',
    groups: groups.map(({ group }) => group.id),
    groups_obj: groups.map(groupOut),
    ...(owner.email === undefined ? {} : { email: owner.email }),
    avatar: AVATAR,
    attributes: owner.attributes,
    uid: ownerHash,
    path: 'users',
    type: owner.kind === 'service' ? 'service_account' : 'internal',
    uuid: owner.id,
  }
}

function groupOut({ group, parentName }: GroupOfUser): UserGroup {
  return {
    pk: group.id,
    num_pk: group.serial,
    name: group.name,
    is_superuser: false,
    // A parent that was deleted has no name any more.
    parent: parentName === undefined ? null : (group.parentId ?? null),
    parent_name: parentName ?? null,
    attributes: {},
  }
}

/** Of a repeated parameter the last one counts. */
export function lastOf(parameter: string | string[] | undefined): string | undefined {
  return Array.isArray(parameter) ? parameter.at(-1) : parameter
}

/** A whole number as Python's `int` reads it. */
function integerOf(text: string): number | undefined {
  const digits = text.trim().replace(/(?<=\d)_(?=\d)/g, '')
  return /^[+-]?\d+$/.test(digits) ? Number(digits) : undefined
}

/** A number that identifies something; undefined when no row can have it. */
export function serialOf(text: string): number | undefined {
  const serial = integerOf(text)
  return serial !== undefined && serial >= 1 && serial <= MAX_SERIAL ? serial : undefined
}

/** One page of a list that is so long. */
export interface Sheet {
  number: number
  last: number
  size: number
  total: number
}

/** The page that is asked for. Throws `not_found` when there is no such page; the first one always is. */
export function sheetOf(query: Pick<ListQuery, 'page' | 'page_size'>, total: number): Sheet {
  const size = pageSizeOf(lastOf(query.page_size))
  const last = Math.max(1, Math.ceil(total / size))
  const text = lastOf(query.page) || '1'
  const number = text === 'last' ? last : integerOf(text)
  if (number === undefined || number < 1 || number > last) {
    throw new CoreError('not_found', SAYINGS.invalidPage)
  }
  return { number, last, size, total }
}

/** 100 when there is none or none that is one; never more than 1000. */
function pageSizeOf(text: string | undefined): number {
  const size = text === undefined ? undefined : integerOf(text)
  return size === undefined || size < 1 ? DEFAULT_PAGE_SIZE : Math.min(size, MAX_PAGE_SIZE)
}

export function paginationOut({ number, last, size, total }: Sheet): Pagination {
  return {
    next: number < last ? number + 1 : 0,
    previous: number - 1,
    count: total,
    current: number,
    total_pages: last,
    start_index: total === 0 ? 0 : (number - 1) * size + 1,
    end_index: number === last ? total : number * size,
  }
}

const ORDER_FIELDS = new Map<string, ClientTokenOrder['by']>([
  ['id', 'serial'],
  ['pk', 'serial'],
  ['provider', 'client'],
  ['user', 'owner'],
  ['expires', 'expiry'],
  ['revoked', 'spent'],
])

const DEFAULT_ORDER: ClientTokenOrder[] = [
  { by: 'client', descending: false },
  { by: 'expiry', descending: false },
]

/** Fields with commas between them, `-` for descending; what cannot be sorted by is left out. */
export function orderOf({ filter }: Family, ordering: string | undefined): ClientTokenOrder[] {
  const seen = new Set<string>()
  const order = (ordering ?? '').split(',').flatMap((term) => {
    const [, minus, field = ''] = /^\s*(-?)(\w*)\s*$/.exec(term) ?? []
    const by = ORDER_FIELDS.get(field)
    if (by === undefined || seen.has(by)) return []
    // A code has no such member.
    if (by === 'spent' && !filter.withSpent) return []
    seen.add(by)
    return { by, descending: minus === '-' }
  })
  return order.length === 0 ? DEFAULT_ORDER : order
}
