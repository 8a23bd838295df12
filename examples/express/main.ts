import { cachedVerifier, createClient } from '@mintmark/sdk'
import { guard } from '@mintmark/sdk/express'
import express from 'express'

const url = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'
// The service's own token, with which it asks about those of others; and less patience than the default.
const client = createClient({ url, token: process.env.MINTMARK_TOKEN, timeoutMs: 3000 })
const verifier = cachedVerifier({ issuer: url, client })

const app = express()
// Behind a proxy: app.set('trust proxy', 'loopback'), so that request.ip is the client's address.

app.get('/builds', guard(verifier), (request, response) => {
  response.json({ for: request.mintmark?.owner.username })
})

app.post('/builds', guard(verifier, { scopes: ['build'] }), (request, response) => {
  response.status(201).json({ by: request.mintmark?.tokenId })
})

const group = ({ params }: { params: Readonly<Record<string, string | string[]>> }) =>
  String(params.team)
app.get('/teams/:team', guard(verifier, { group }), (request, response) => {
  response.json({ team: request.params.team })
})

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : address
  process.stdout.write(`Listening on http://127.0.0.1:${port}\n`)
})
