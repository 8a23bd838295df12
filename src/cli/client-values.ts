import { readFileSync } from 'node:fs'
import type { JsonWebKeySet, OAuthGrantType, SigningAlgorithm, SubjectMode } from '@mintmark/sdk'
import { InvalidArgumentError } from 'commander'
import { jsonObject, oneOf } from './values.ts'

/** Parsers of what people type about OAuth clients. */

/** The long names of grants, by the short ones that people type. */
const GRANTS: Record<string, OAuthGrantType> = {
  authorization_code: 'authorization_code',
  refresh_token: 'refresh_token',
  client_credentials: 'client_credentials',
  device_code: 'urn:ietf:params:oauth:grant-type:device_code',
  token_exchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
}

/** For an option that is given several times. */
export function grantTypes(text: string, before: OAuthGrantType[] = []): OAuthGrantType[] {
  const key = text.toLowerCase().replaceAll('-', '_')
  const known = Object.entries(GRANTS).find(([short, long]) => short === key || long === text)
  if (known !== undefined) return [...before, known[1]]
  throw new InvalidArgumentError(`Say one of ${Object.keys(GRANTS).join(', ')}.`)
}

/** A grant as people type it. */
export function shortGrant(grant: OAuthGrantType): string {
  return Object.entries(GRANTS).find(([, long]) => long === grant)?.[0] ?? grant
}

export const signingAlgorithmOf = oneOf<SigningAlgorithm>(['RS256', 'ES256'])

export const subjectModeOf = oneOf<SubjectMode>([
  'hashed_user_id',
  'user_id',
  'user_uuid',
  'user_username',
  'user_email',
  'user_upn',
])

/** The JWK set in a file. */
export function jwksOf(file: string): JsonWebKeySet {
  const { keys } = jsonObject(contentOf(file))
  if (Array.isArray(keys)) return { keys }
  throw new InvalidArgumentError('Say a file with a JWK set like {"keys":[…]}.')
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new InvalidArgumentError(`The file cannot be read: ${why}.`)
  }
}
