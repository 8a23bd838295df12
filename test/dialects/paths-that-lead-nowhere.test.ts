import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

/** Beginning of the path → what an error of that API looks like. */
const shapes: [string, Record<string, unknown>][] = [
  ['/api/v1/users/', { code: expect.any(String), requestId: expect.any(String) }],
  ['/api/auth/v1/admin/users/', { code: expect.any(Number), message: expect.any(String) }],
  ['/v1/access-tokens/', { code: expect.any(String), details: '' }],
  ['/v1/tokens/', { code: expect.any(Number), message: expect.any(String) }],
]

describe.each(shapes)('below %s', (beginning, shape) => {
  it.each(['%ZZ', '%E0%A4%A', `${'x'.repeat(2000)}`])(
    'a bad path is refused in shape: %.12s',
    async (rest) => {
      const answer = await server.call('GET', beginning + rest)
      expect(answer.status).toBeGreaterThanOrEqual(400)
      expect(answer.status).toBeLessThan(500)
      expect(answer.body).toMatchObject(shape)
      expect(answer.text).not.toContain(rest)
    },
  )

  it('an unknown path is not found, in shape', async () => {
    const answer = await server.call('GET', `${beginning}no/such/path`)
    expect(answer.status).toBe(404)
    expect(answer.body).toMatchObject(shape)
  })
})
