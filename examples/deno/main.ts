import { holdsGroup, offlineVerifier } from '@mintmark/sdk'
import { guard } from '@mintmark/sdk/web'

// Checks signed tokens (`mintmark token jwt`) without asking the server about each.
const verifier = offlineVerifier({
  issuer: process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080',
  audience: 'https://builds.example.com',
})

interface Connection {
  remoteAddr?: { hostname?: string }
}
const ip = (_request: Request, { remoteAddr }: Connection) => remoteAddr?.hostname

const builds = guard(verifier, { scopes: ['build'], ip }, (_request, verdict) =>
  Response.json({ for: verdict.owner.username }),
)

const team = guard(verifier, { ip }, (request, verdict) => {
  const name = decodeURIComponent(new URL(request.url).pathname.slice('/teams/'.length))
  if (!holdsGroup(verdict, name)) return new Response(null, { status: 403 })
  return Response.json({ team: name })
})

/** For `deno serve`. */
export default {
  fetch(request: Request, connection: Connection): Response | Promise<Response> {
    const { pathname } = new URL(request.url)
    if (pathname === '/builds') return builds(request, connection)
    if (pathname.startsWith('/teams/')) return team(request, connection)
    return new Response(null, { status: 404 })
  },
}
