import { afterAll, beforeAll, expect, it } from 'vitest'
import { rest } from '../support/rest.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let url: string
beforeAll(async () => {
  server = await startServer()
  url = await server.app.server.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(() => server.close())

/** A service with a secret in its settings, which asks as fast as it can and counts how it fares. */
function busyService(name: string, secret: string) {
  const service = { secret, asked: 0, refused: 0, stop: async () => {} }
  let isOn = true
  const running = (async () => {
    while (isOn) {
      const { status } = await fetch(`${url}/api/v1/me`, {
        headers: { authorization: `Bearer ${service.secret}`, 'user-agent': name },
      })
      service.asked++
      if (status !== 200) service.refused++
    }
  })()
  service.stop = async () => {
    isOn = false
    await running
  }
  return service
}

const asked = async (service: { asked: number }, more: number) => {
  const until = service.asked + more
  while (service.asked < until) await new Promise((resolve) => setTimeout(resolve, 5))
}

it('a busy token is rotated without a failed request, as the guide does it', async () => {
  const api = rest(url, server.adminToken)
  const made = (await api.call('POST', '/tokens', { body: { name: 'busy' } })).body
  server.remember(made.secret)
  const services = ['web/1', 'worker/1'].map((name) => busyService(name, made.secret))
  for (const service of services) await asked(service, 20)

  const { body: next } = await api.call('POST', `/tokens/${made.id}/rotate`, { body: {} })
  server.remember(next.secret)
  const rotation = async () => (await api.call('GET', `/tokens/${made.id}/rotation`)).body
  const agents = ({ items }: { items: { userAgent: string }[] }) =>
    items.map(({ userAgent }) => userAgent).toSorted()
  for (const service of services) await asked(service, 20)
  expect(agents((await rotation()).oldCallers)).toEqual(['web/1', 'worker/1'])
  expect(await rotation()).toMatchObject({ safeToFinish: false })

  // One after the other takes the new secret over.
  for (const service of services) {
    service.secret = next.secret
    await asked(service, 20)
  }
  expect(agents((await rotation()).newCallers)).toEqual(['web/1', 'worker/1'])
  server.clock.advance(3_600_000)
  for (const service of services) await asked(service, 20)
  expect(await rotation()).toMatchObject({ safeToFinish: true })
  const { body: finished } = await api.call('POST', `/tokens/${made.id}/rotation:finish`)
  expect(finished.old.state).toBe('superseded')
  expect(await api.isActive(made.secret)).toBe(false)
  for (const service of services) await asked(service, 20)

  for (const service of services) {
    await service.stop()
    expect(service.refused).toBe(0)
  }
})
