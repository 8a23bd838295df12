import { cachedVerifier, createClient } from '@mintmark/sdk'
import { guard } from '@mintmark/sdk/next'

const url = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'
const client = createClient({ url, token: process.env.MINTMARK_TOKEN, timeoutMs: 3000 })
const verifier = cachedVerifier({ issuer: url, client })

export const GET = guard(verifier, {}, (_request, verdict) =>
  Response.json({ for: verdict.owner.username }),
)

export const POST = guard(verifier, { scopes: ['build'] }, (_request, verdict) =>
  Response.json({ by: verdict.tokenId }, { status: 201 }),
)
