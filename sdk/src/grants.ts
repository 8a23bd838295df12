import { dryRun } from './dry-run.ts'
import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { BlastRadius } from './job-types.ts'
import type { OAuthGrant, OAuthGrantQuery } from './oauth-types.ts'
import { everyItem } from './pages.ts'
import type { Revocation } from './token-types.ts'
import type { Page } from './types.ts'

/** What users let OAuth clients do. */
export function grants(send: Send) {
  const list = (
    query: OAuthGrantQuery = {},
    options: CallOptions = {},
  ): Promise<Page<OAuthGrant>> =>
    send({ method: 'GET', path: '/grants', query, repeatable: true, ...options })

  return {
    /** One page, newest first. Admins see all grants, others their own. */
    list,

    /** All grants that fit, newest first, fetched page by page. */
    listAll(query: OAuthGrantQuery = {}, options: CallOptions = {}): AsyncGenerator<OAuthGrant> {
      return everyItem((page: OAuthGrantQuery) => list(page, options), query)
    },

    /** What withdrawing a grant would hit; changes nothing. */
    withdrawDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(dryRun({ method: 'DELETE', path: path`/grants/${id}`, ...options }))
    },

    /** Takes a grant back: all tokens that came of it are dead when this returns. */
    withdraw(id: string, options: ChangeOptions = {}): Promise<Revocation> {
      return send({ method: 'DELETE', path: path`/grants/${id}`, repeatable: true, ...options })
    },
  }
}
