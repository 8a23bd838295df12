import { createServer, type Server } from 'node:http'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { upstreamProvider } from './upstream.ts'

let silent: Server

beforeEach(async () => {
  // Takes every request and never answers.
  silent = createServer(() => undefined)
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
})
afterEach(async () => {
  silent.closeAllConnections()
  await new Promise((resolve) => silent.close(resolve))
})

function settings() {
  const address = silent.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    issuer: `http://127.0.0.1:${port}`,
    clientId: 'mintmark',
    clientSecret: undefined,
    usernameClaim: 'email',
    returnUrls: [],
    redirectUris: [],
  }
}

it('gives a provider that never answers up at the deadline', async () => {
  const upstream = upstreamProvider(settings(), 0.05)
  const begun = upstream.begin('https://auth.example/callback')
  await expect(begun).rejects.toMatchObject({ code: 'upstream_failed' })
})
