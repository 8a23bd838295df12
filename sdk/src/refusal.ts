/** An answer that lets nobody in. */
export interface Refusal {
  status: number
  headers: Record<string, string>
  /** A problem document (RFC 9457). */
  body: string
}

interface Problem {
  status: number
  /** Compare this. */
  code: string
  /** What went wrong, and what to do next. */
  detail: string
}

/** A refusal that another credential, or none at all, would have changed (RFC 6750, section 3). */
export function challenge(
  problem: Problem,
  { realm, scopes = [] }: { realm: string; scopes?: readonly string[] },
): Refusal {
  const { code, detail } = problem
  // Without a credential there is no error to name.
  const error = code === 'unauthenticated' ? [] : [parameter('error', code)]
  const description = error.length === 0 ? [] : [parameter('error_description', detail)]
  const scope = scopes.length === 0 ? [] : [parameter('scope', scopes.join(' '))]
  const parameters = [parameter('realm', realm), ...error, ...description, ...scope]
  return refusal(problem, { 'www-authenticate': `Bearer ${parameters.join(', ')}` })
}

/** A refusal that will pass. */
export function later(problem: Problem, seconds: number): Refusal {
  return refusal(problem, { 'retry-after': String(Math.max(1, Math.ceil(seconds))) })
}

function refusal(problem: Problem, headers: Record<string, string>): Refusal {
  return {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json; charset=utf-8',
      'cache-control': 'no-store',
      ...headers,
    },
    body: JSON.stringify(problem),
  }
}

function parameter(name: string, value: string): string {
  return `${name}="${value}"`
}
