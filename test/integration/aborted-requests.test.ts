import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listen } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let port: number

beforeAll(async () => {
  server = await startServer()
  port = await listen(server)
})
afterAll(() => server.close())

const HEAD = [
  'host: localhost',
  'content-type: application/json',
  'content-length: 100',
  '',
  '',
].join('\r\n')

test.each([
  ['before its body', HEAD],
  ['in the middle of its body', `${HEAD}{"username":`],
])('a request whose client leaves %s is not waited for', async (_, rest) => {
  const { health } = server.app
  const socket = connect(port, '127.0.0.1')
  socket.write(`POST /api/v1/login HTTP/1.1\r\n${rest}`)
  await expect.poll(() => health.underWay).toBe(1)
  socket.destroy()
  await expect.poll(() => health.underWay).toBe(0)
})

test('nor is one that was answered', async () => {
  await server.call('GET', '/health/live')
  await fetch(`http://127.0.0.1:${port}/health/live`)
  await expect.poll(() => server.app.health.underWay).toBe(0)
})
