import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { Job, JobQuery } from './job-types.ts'
import { everyItem } from './pages.ts'
import type { Page } from './types.ts'

/** Actions on many tokens, under way and over. */
export function jobs(send: Send) {
  const list = (query: JobQuery = {}, options: CallOptions = {}): Promise<Page<Job>> =>
    send({ method: 'GET', path: '/jobs', query, repeatable: true, ...options })

  return {
    get(id: string, options: CallOptions = {}): Promise<Job> {
      return send({ method: 'GET', path: path`/jobs/${id}`, repeatable: true, ...options })
    },

    /** One page, newest first. Admins see all jobs, others their own. */
    list,

    /** All jobs that fit, newest first, fetched page by page. */
    listAll(query: JobQuery = {}, options: CallOptions = {}): AsyncGenerator<Job> {
      return everyItem((page: JobQuery) => list(page, options), query)
    },

    /** Stops a job; what it has done stays done. */
    cancel(id: string, options: ChangeOptions = {}): Promise<Job> {
      return send({ method: 'POST', path: path`/jobs/${id}/cancel`, repeatable: true, ...options })
    },
  }
}
