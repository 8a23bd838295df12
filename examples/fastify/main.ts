import { cachedVerifier, createClient, verdictOf } from '@mintmark/sdk'
import { guard } from '@mintmark/sdk/fastify'
import fastify from 'fastify'

const url = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'
const client = createClient({ url, token: process.env.MINTMARK_TOKEN, timeoutMs: 3000 })
const verifier = cachedVerifier({ issuer: url, client })

// Behind a proxy: trustProxy: 'loopback', so that request.ip is the client's address.
const app = fastify()

// One hook for all routes, and more where more is asked for.
app.addHook('onRequest', guard(verifier, { accessLevel: 'READ_ONLY' }))

app.get('/builds', async (request) => ({ for: verdictOf(request).owner.username }))

const mayBuild = guard(verifier, { scopes: ['build'] })
app.post('/builds', { onRequest: mayBuild }, async (request, reply) => {
  reply.code(201)
  return { by: verdictOf(request).tokenId }
})

const ofTeam = guard(verifier, { group: ({ params }) => (params as { team: string }).team })
app.get('/teams/:team', { onRequest: ofTeam }, async ({ params }) => params)

const address = await app.listen({ port: Number(process.env.PORT ?? 3000) })
process.stdout.write(`Listening on ${address}\n`)
