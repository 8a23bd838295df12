import { cachedVerifier, createClient } from '@mintmark/sdk'
import { guard } from '@mintmark/sdk/web'

const url = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'
const client = createClient({ url, token: process.env.MINTMARK_TOKEN, timeoutMs: 3000 })
const verifier = cachedVerifier({ issuer: url, client })

interface Server {
  requestIP(request: Request): { address: string } | null
}
const ip = (request: Request, server: Server) => server.requestIP(request)?.address

const list = guard(verifier, { ip }, (_request, verdict) =>
  Response.json({ for: verdict.owner.username }),
)

const start = guard(verifier, { scopes: ['build'], ip }, (_request, verdict) =>
  Response.json({ by: verdict.tokenId }, { status: 201 }),
)

/** Bun serves what a module exports so. */
export default {
  port: Number(process.env.PORT ?? 3000),
  hostname: '127.0.0.1',
  fetch(request: Request, server: Server): Response | Promise<Response> {
    const isBuilds = new URL(request.url).pathname === '/builds'
    if (isBuilds && request.method === 'GET') return list(request, server)
    if (isBuilds && request.method === 'POST') return start(request, server)
    return new Response(null, { status: 404 })
  },
}
