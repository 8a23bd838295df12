import type { Call } from './http.ts'

/** The same call as a question: what would it hit? */
export function dryRun(call: Call): Call {
  const query = { ...call.query, dry_run: true }
  return { ...call, query, repeatable: true, withoutWait: true }
}
