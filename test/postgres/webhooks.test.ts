import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { lockedBy } from '../support/cut-off.ts'
import { makeToken } from '../support/people.ts'
import { TO_LOOPBACK } from '../support/receiver.ts'
import { startServer } from '../support/server.ts'

test('the end of an attempt and whoever deletes its webhook lock in one order', async () => {
  const server = await startServer(TO_LOOPBACK)
  onTestFinished(() => server.close())
  const arrived = Promise.withResolvers<void>()
  const mayAnswer = Promise.withResolvers<void>()
  const receiver = createServer((_, response) => {
    arrived.resolve()
    void mayAnswer.promise.then(() => response.writeHead(204).end())
  })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void receiver.close())
  const { port } = receiver.address() as AddressInfo
  const made = await server.call('POST', '/api/v1/webhooks', {
    body: { url: `http://127.0.0.1:${port}/hook` },
  })
  server.remember(made.body.secret)
  await makeToken(server, {})
  const running = server.app.core.deliverer.run()
  await arrived.promise
  const { id } = made.body
  // As somebody who is about to delete it does first.
  const unlock = await lockedBy(
    server.database,
    `select 1 from webhook where id = '${id}' for no key update`,
  )
  mayAnswer.resolve()
  await vi.waitFor(
    async () => {
      const waiting = await server.database.query(
        `select 1 from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`,
      )
      expect(waiting.length).toBeGreaterThan(0)
    },
    { timeout: 5000, interval: 20 },
  )
  // What the other would want next is free, so that neither waits for the other in turn.
  const free = await server.database.query(
    `select id from delivery where webhook_id = '${id}' for update skip locked`,
  )
  await unlock()
  await running
  expect(free).toHaveLength(1)
  const { items } = (await server.call('GET', `/api/v1/deliveries?webhookId=${id}`)).body
  expect(items).toMatchObject([{ state: 'delivered' }])
  expect((await server.call('DELETE', `/api/v1/webhooks/${id}`)).status).toBe(204)
})
