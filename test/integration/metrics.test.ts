import { afterAll, beforeAll, expect, it } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'

let open: TestServer
let closed: TestServer
beforeAll(async () => {
  open = await startServer()
  closed = await startServer({ MINTMARK_METRICS_PUBLIC: 'false' })
})
afterAll(() => Promise.all([open.close(), closed.close()]))

it('counts requests by route pattern and verdicts by outcome, never by id', async () => {
  await open.call('GET', '/api/v1/tokens/01a2007b-2300-73a1-af72-4092edfd2983')
  await open.call('POST', '/api/v1/tokens/verify', { body: { token: 'no such thing' } })
  const { status, text } = await open.call('GET', '/metrics', { token: null })
  expect(status).toBe(200)
  expect(text).toContain('route="/api/v1/tokens/:id"')
  expect(text).toContain('mintmark_verdicts_total{outcome="malformed"} 1')
  expect(text).not.toContain('01a2007b')
})

it('asks for a credential where the operator wants one', async () => {
  expect((await closed.call('GET', '/metrics', { token: null })).status).toBe(401)
  expect((await closed.call('GET', '/metrics')).status).toBe(200)
})
