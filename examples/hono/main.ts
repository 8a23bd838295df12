import { serve } from '@hono/node-server'
import { getConnInfo } from '@hono/node-server/conninfo'
import { cachedVerifier, createClient } from '@mintmark/sdk'
import { guard, type MintmarkVariables } from '@mintmark/sdk/hono'
import { type Context, Hono } from 'hono'

const url = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'
const client = createClient({ url, token: process.env.MINTMARK_TOKEN, timeoutMs: 3000 })
const verifier = cachedVerifier({ issuer: url, client })

// Hono itself does not know where a request comes from.
const ip = (c: Context) => getConnInfo(c).remote.address

const app = new Hono<{ Variables: MintmarkVariables }>()

app.get('/builds', guard(verifier, { ip }), (c) =>
  c.json({ for: c.get('mintmark').owner.username }),
)

app.post('/builds', guard(verifier, { scopes: ['build'], ip }), (c) =>
  c.json({ by: c.get('mintmark').tokenId }, 201),
)

const group = (c: Context) => c.req.param('team')
app.get('/teams/:team', guard(verifier, { group, ip }), (c) =>
  c.json({ team: c.req.param('team') }),
)

serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) }, ({ port }) => {
  process.stdout.write(`Listening on http://127.0.0.1:${port}\n`)
})
