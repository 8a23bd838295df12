// Mints a child, signs it, checks the result without the server, revokes the child, and times how long
// the signed token lives on.
import { createClient, offlineVerifier } from '@mintmark/sdk'

const url = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'
const audience = 'https://builds.example.com'
const client = createClient({ url, token: process.env.MINTMARK_TOKEN })
const say = (text: string) => process.stdout.write(`${text}\n`)

const child = await client.tokens.createChild({ name: 'offline example' })
const { jwt, expiresAt } = await createClient({ url, token: child.secret }).tokens.sign({
  audience,
})
say(`Signed a token that would live until ${expiresAt}.`)

const verifier = offlineVerifier({ issuer: url, audience })
const first = await verifier.verify({ token: jwt })
if (!first.active) throw new Error(`It is not good: ${first.reason}.`)
say(`It is good, for ${first.owner.username}.`)

const rounds = 1000
const startedMs = performance.now()
for (let i = 0; i < rounds; i++) await verifier.verify({ token: jwt })
const eachMs = (performance.now() - startedMs) / rounds
say(`Checked ${rounds} times without asking anybody, ${eachMs.toFixed(2)} ms each.`)

await client.tokens.revoke(child.id)
const revokedMs = performance.now()
while ((await verifier.verify({ token: jwt })).active) {
  await new Promise((resolve) => setTimeout(resolve, 10))
}
const verdict = await verifier.verify({ token: jwt })
const afterMs = Math.round(performance.now() - revokedMs)
say(`Refused ${afterMs} ms after it was revoked: ${verdict.active ? '' : verdict.reason}.`)
verifier.close()
