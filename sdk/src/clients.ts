import { dryRun } from './dry-run.ts'
import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { BlastRadius } from './job-types.ts'
import type {
  IssuedOAuthClient,
  NewOAuthClient,
  OAuthClient,
  OAuthClientEdit,
  OAuthClientQuery,
} from './oauth-types.ts'
import { type OnceOptions, once } from './once.ts'
import { everyItem } from './pages.ts'
import type { Page } from './types.ts'

/** OAuth2 client applications, for administrators. Each is named by its id or its client id. */
export function clients(send: Send) {
  const list = (
    query: OAuthClientQuery = {},
    options: CallOptions = {},
  ): Promise<Page<OAuthClient>> =>
    send({ method: 'GET', path: '/clients', query, repeatable: true, ...options })

  return {
    /** Makes a client; its secret, if it has one, is shown this once. */
    create(wish: NewOAuthClient, options: OnceOptions = {}): Promise<IssuedOAuthClient> {
      return send({ method: 'POST', path: '/clients', body: wish, ...once(options) })
    },

    get(id: string, options: CallOptions = {}): Promise<OAuthClient> {
      return send({ method: 'GET', path: path`/clients/${id}`, repeatable: true, ...options })
    },

    /** One page, newest first. */
    list,

    /** All clients that fit, newest first, fetched page by page. */
    listAll(query: OAuthClientQuery = {}, options: CallOptions = {}): AsyncGenerator<OAuthClient> {
      return everyItem((page: OAuthClientQuery) => list(page, options), query)
    },

    /** Changes a client. Disabling it revokes all that it was given, for good. */
    update(id: string, edit: OAuthClientEdit, options: ChangeOptions = {}): Promise<OAuthClient> {
      return send({ method: 'PATCH', path: path`/clients/${id}`, body: edit, ...options })
    },

    /** What disabling a client would hit; changes nothing. */
    disableDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(
        dryRun({
          method: 'PATCH',
          path: path`/clients/${id}`,
          body: { active: false },
          ...options,
        }),
      )
    },

    /** What deleting a client would hit; changes nothing. */
    deleteDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(dryRun({ method: 'DELETE', path: path`/clients/${id}`, ...options }))
    },

    /** Gives a client a new secret; the old one dies at once. */
    replaceSecret(id: string, options: OnceOptions = {}): Promise<IssuedOAuthClient> {
      return send({ method: 'POST', path: path`/clients/${id}/secret`, ...once(options) })
    },

    /** Deletes a client and revokes all that it was given. */
    delete(id: string, options: ChangeOptions = {}): Promise<void> {
      return send({ method: 'DELETE', path: path`/clients/${id}`, ...options })
    },
  }
}
