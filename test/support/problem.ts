import { expect } from 'vitest'
import type { Answer } from './server.ts'

const TITLES: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
}

/** The answer is exactly an RFC 9457 problem document of this status and code. */
export function expectProblem(answer: Answer, status: number, code?: string): void {
  expect(answer.text, `expected ${status} ${code ?? ''}`).toContain(`"status":${status}`)
  expect(answer.status).toBe(status)
  expect(answer.headers['content-type']).toBe('application/problem+json')
  expect(answer.headers['cache-control']).toBe('no-store')
  expect(answer.body).toEqual({
    type: 'about:blank',
    title: TITLES[status],
    status,
    detail: expect.stringMatching(/^.{10,}[.]$/s),
    code: code ?? expect.stringMatching(/^[a-z_]+$/),
    requestId: answer.headers['x-request-id'],
    ...(answer.body.column === undefined ? {} : { column: expect.any(Number) }),
  })
  expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Bearer' : undefined)
  if (status === 429) expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
}

/** What an answer says apart from the request it belongs to. */
export function withoutRequestId(answer: Answer): unknown {
  const perRequest = /^(date|x-request-id|x-ratelimit-(remaining|reset))$/
  const headers = Object.entries(answer.headers).filter(([name]) => !perRequest.test(name))
  return {
    status: answer.status,
    headers: Object.fromEntries(headers),
    text: answer.text.replace(/"requestId":"[^"]+"/, '"requestId":""'),
  }
}
