import type { IssuedOAuthClient, OAuthClient } from '@mintmark/sdk'
import { shortGrant } from './client-values.ts'
import { answer, answerSecret, day, type JsonOption } from './output.ts'
import { facts } from './table.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './text.ts'

/** All about one OAuth client, for people. */
export function aboutClient(client: OAuthClient): string {
  const { applicationName, applicationSlug } = client
  return facts([
    ['id', client.id],
    ['client id', client.clientId],
    ['name', client.name],
    ['type', client.type],
    ['active', client.active ? 'yes' : 'no'],
    ['authenticates', authenticationOf(client)],
    ['grants', client.grants.map(shortGrant).join(', ') || 'none'],
    ['scopes', client.scopes.join(', ') || 'none'],
    ['redirects to', client.redirectUris.join(', ') || 'none'],
    ['after logout', client.postLogoutRedirectUris.join(', ') || undefined],
    ['resources', client.resources.join(', ') || undefined],
    ['serves', client.serves.join(', ') || undefined],
    ['codes', client.codeTtl],
    ['access tokens', client.accessTokenTtl],
    ['refresh tokens', client.refreshTokenTtl],
    ['subject', client.subjectMode],
    ['signed with', client.signingAlgorithm],
    ['PKCE', client.requirePkce ? 'required' : 'not required'],
    [
      'application',
      applicationName === null ? undefined : `${applicationName} (${applicationSlug})`,
    ],
    ['account', client.serviceUserId],
    ['created', day(client.createdAt)],
  ])
}

function authenticationOf({ type, jwks, secretPreview }: OAuthClient): string {
  if (type === 'public') return 'no'
  if (jwks !== null) return `by ${jwks.keys.length === 1 ? 'its key' : `${jwks.keys.length} keys`}`
  return secretPreview === null ? 'no: it has no secret yet' : `by its secret ${secretPreview}`
}

/** Hands over a new secret, which is in this answer and nowhere else; or shows a client without one. */
export function answerClient(
  terminal: Terminal,
  { options, client, verb }: { options: JsonOption; client: IssuedOAuthClient; verb: string },
): void {
  const { secret, name, clientId } = client
  if (secret === null) {
    answer(terminal, { ...options, document: client, text: () => aboutClient(client) })
    return
  }
  answerSecret(terminal, {
    ...options,
    document: client,
    secret,
    before: visible(`${verb} the client "${name}", client id ${clientId}.`),
    after: [
      'This secret is shown only now and cannot be shown again: store it where it is used.',
      `Replace it any time:  mintmark client secret ${clientId}`,
    ],
  })
}
