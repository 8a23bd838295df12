import type { FastifyRequest } from 'fastify'
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose'
import type { Client } from '../core/clients/client.ts'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import { headerCount } from '../http/credential.ts'
import { formOf } from './form.ts'
import { isFirstUse } from './models.ts'

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'Ed25519', 'EdDSA']
const SKEW_SECONDS = 5
/** Longer-lived assertions would have to be remembered for longer. */
const MAX_ASSERTION_SECONDS = 3600

export type ClientVerdict = { client: Client } | { refused: 'invalid_client' | 'invalid_request' }

/**
 * Who asks, by the ways that the token endpoint takes (RFC 6749, section 2.3; RFC 7523, section 2.2):
 * exactly one of them. `acceptsPublic`: a client without a secret may name itself.
 */
export async function authenticateClient(
  request: FastifyRequest,
  { core, audiences, acceptsPublic }: { core: Core; audiences: string[]; acceptsPublic: boolean },
): Promise<ClientVerdict> {
  const form = formOf(request)
  const basic = request.headers.authorization
  const secret = form.get('client_secret')
  const assertion = form.get('client_assertion')
  const ways = [basic, secret, assertion].filter((way) => way !== undefined)
  if (ways.length > 1 || headerCount(request, 'authorization') > 1) {
    return { refused: 'invalid_request' }
  }
  const named = form.get('client_id')
  if (basic !== undefined) {
    const pair = basicPair(basic)
    if (pair === undefined || (named !== undefined && named !== pair.id)) return WRONG
    return bySecret(core, pair)
  }
  if (secret !== undefined) return bySecret(core, { id: named ?? '', secret })
  if (assertion !== undefined) {
    if (form.get('client_assertion_type') !== ASSERTION_TYPE) return { refused: 'invalid_request' }
    return byAssertion(core, { assertion, named, audiences })
  }
  const client = await core.clients.byClientId(named ?? '')
  return acceptsPublic && client?.active && client.type === 'public' ? { client } : WRONG
}

const WRONG = { refused: 'invalid_client' } as const

/** RFC 6749, section 2.3.1: both halves are form-encoded before they are joined. */
export function basicPair(header: string): { id: string; secret: string } | undefined {
  const encoded = /^basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header)?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 1 || Buffer.from(text).toString('base64') !== encoded) return undefined
  try {
    const decoded = (part: string) => decodeURIComponent(part.replace(/\+/g, '%20'))
    return { id: decoded(text.slice(0, colon)), secret: decoded(text.slice(colon + 1)) }
  } catch {
    return undefined
  }
}

async function bySecret(
  core: Core,
  { id, secret }: { id: string; secret: string },
): Promise<ClientVerdict> {
  const client = await core.clients.byClientId(id)
  const matches = await core.clients.secretMatches(client, secret)
  return client?.active && matches ? { client } : WRONG
}

/** Whether an assertion says that it was made by now and is over soon. */
export function isPlausibleAssertion(
  { exp = 0, iat = 0 }: { exp?: number | undefined; iat?: number | undefined },
  nowMs: number,
): boolean {
  const now = nowMs / 1000
  return iat <= now + SKEW_SECONDS && exp <= now + MAX_ASSERTION_SECONDS
}

async function byAssertion(
  core: Core,
  wish: { assertion: string; named: string | undefined; audiences: string[] },
): Promise<ClientVerdict> {
  const { assertion, named, audiences } = wish
  try {
    const { sub = '' } = decodeJwt(assertion)
    const client = await core.clients.byClientId(sub)
    if (!client?.active || client.jwks === undefined) return WRONG
    if (named !== undefined && named !== client.clientId) return WRONG
    const { payload } = await jwtVerify(
      assertion,
      createLocalJWKSet(client.jwks as JSONWebKeySet),
      {
        algorithms: ALGORITHMS,
        issuer: client.clientId,
        subject: client.clientId,
        audience: audiences,
        requiredClaims: ['exp', 'jti'],
        clockTolerance: SKEW_SECONDS,
        currentDate: new Date(core.clock.now()),
      },
    )
    const { jti, exp = 0 } = payload
    if (typeof jti !== 'string' || jti === '' || !isPlausibleAssertion(payload, core.clock.now()))
      return WRONG
    const expiresAt = exp + SKEW_SECONDS
    const isFirst = await isFirstUse(core, { issuer: client.clientId, id: jti, expiresAt })
    return isFirst ? { client } : WRONG
  } catch (error) {
    if (error instanceof CoreError) throw error
    return WRONG
  }
}
