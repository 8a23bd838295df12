import { CoreError } from '../../core/errors.ts'
import { type CredentialReader, headerCount } from '../../http/credential.ts'
import { SAYINGS } from './errors.ts'

/** `Authorization: Bearer <token>` and nothing else; says in authentik's words what is wrong with it. */
export const authentikCredential: CredentialReader = (request) => {
  // Neither first-wins nor last-wins; Node drops repeated ones silently.
  if (headerCount(request, 'authorization') > 1) throw refused(SAYINGS.malformedHeader)
  const header = (request.headers.authorization ?? '').trim()
  if (header === '') throw refused(SAYINGS.noCredential)
  const [scheme = '', credential, ...rest] = header.split(/\s+/)
  if (credential === undefined) throw refused(SAYINGS.malformedHeader)
  if (scheme.toLowerCase() !== 'bearer') throw refused(SAYINGS.otherScheme)
  if (rest.length > 0) throw refused(SAYINGS.malformedHeader)
  return credential
}

function refused(message: string): CoreError {
  return new CoreError('unauthenticated', message)
}
