import type { LeakReceipt, LeakReport } from './event-types.ts'
import type { CallOptions, Send } from './http.ts'

/** Secrets that were seen where they should not be. */
export function leaks(send: Send) {
  return {
    /** Their tokens are dealt with as the policy says. For admins and holders of `leak-reporter`. */
    report(found: LeakReport, options: CallOptions = {}): Promise<LeakReceipt> {
      return send({
        method: 'POST',
        path: '/leaks',
        body: found,
        repeatable: true,
        withoutWait: true,
        ...options,
      })
    },
  }
}
