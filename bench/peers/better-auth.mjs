/** `verifyApiKey` of Better Auth on SQLite, behind a bare HTTP server. Its rate limit is off. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { apiKey } from '@better-auth/api-key'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'

const dir = mkdtempSync(join(tmpdir(), 'better-auth-bench-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
process.on('SIGTERM', () => process.exit(0))

const database = new DatabaseSync(join(dir, 'auth.db'))
database.exec('pragma journal_mode = wal')
const auth = betterAuth({
  baseURL: 'http://localhost',
  secret: 'bench-secret-of-32-characters-or-more',
  database,
  emailAndPassword: { enabled: true },
  plugins: [apiKey({ rateLimit: { enabled: false } })],
  telemetry: { enabled: false },
  logger: { level: 'error' },
})
const { runMigrations } = await getMigrations(auth.options)
await runMigrations()
const { user } = await auth.api.signUpEmail({
  body: { name: 'alice', email: 'alice@example.com', password: 'a password of some length' },
})
const keys = []
for (let i = 0; i < 100; i++) {
  keys.push((await auth.api.createApiKey({ body: { name: `key ${i}`, userId: user.id } })).key)
}

const server = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk) => {
    body += chunk
  })
  request.on('end', () => {
    auth.api.verifyApiKey({ body: JSON.parse(body) }).then(
      (verdict) => {
        const json = JSON.stringify(verdict)
        const headers = {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(json),
        }
        response.writeHead(verdict.valid ? 200 : 401, headers).end(json)
      },
      (error) =>
        response
          .writeHead(500, { 'content-length': 0 })
          .end(process.stderr.write(`${error}\n`) && ''),
    )
  })
}).listen(0, '127.0.0.1', () => {
  const requests = keys.map((key) => {
    const body = JSON.stringify({ key })
    return `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  })
  process.send({ port: server.address().port, requests })
})
