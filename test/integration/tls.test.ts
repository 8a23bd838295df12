import { get } from 'node:https'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { selfSigned } from '../support/certificate.ts'
import { startServer, type TestServer } from '../support/server.ts'

const { cert, key } = selfSigned()
let server: TestServer
let port: string
beforeAll(async () => {
  server = await startServer({ MINTMARK_TLS_CERT: cert, MINTMARK_TLS_KEY: key })
  port = new URL(await server.app.server.listen({ host: '127.0.0.1', port: 0 })).port
})
afterAll(() => server.close())

it('serves HTTPS with the certificate given, and tells browsers to stay with it', async () => {
  const answer = await new Promise<{ status: number | undefined; hsts: unknown }>(
    (resolve, reject) => {
      const url = `https://127.0.0.1:${port}/health/live`
      const options = { ca: cert, servername: 'localhost', checkServerIdentity: () => undefined }
      get(url, options, (response) => {
        response.resume()
        const hsts = response.headers['strict-transport-security']
        resolve({ status: response.statusCode, hsts })
      }).on('error', reject)
    },
  )
  expect(answer).toEqual({ status: 200, hsts: expect.stringContaining('max-age=31536000') })
})
