import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@mintmark/sdk'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeSecret } from '../../src/core/secret.ts'
import { mintmark } from '../support/cli.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-scan-'))
const adminToken = randomBytes(30).toString('base64url')
let server: ServerProcess

beforeAll(async () => {
  server = await startProcess({ dataDir, env: { MINTMARK_BOOTSTRAP_TOKEN: adminToken } })
})
afterAll(async () => {
  await server.end('SIGTERM')
  rmSync(dataDir, { recursive: true, force: true })
})

/** Tokens in every state of life, in a file of one line each. */
async function leak(name: string) {
  const { tokens, clients } = createClient({ url: server.url, token: adminToken })
  const alive = await tokens.create({ name })
  const bound = await tokens.create({ name: `${name} bound`, allowedIps: ['10.0.0.0/8'] })
  const revoked = await tokens.create({ name: `${name} revoked` })
  await tokens.revoke(revoked.id)
  const client = await clients.create({ name: 'ci', grants: ['client_credentials'] })
  const secrets = [
    ...[alive, bound, revoked, client].map(({ secret }) => String(secret)),
    makeSecret('mintmark', 'api', randomBytes),
    makeSecret('hex', 'api', randomBytes),
    alive.secret,
  ]
  const file = join(temporaryDirectory(), 'leak.txt')
  writeFileSync(file, secrets.join('\n'))
  return { file, secrets, tokens }
}

it('--verify marks which are alive, as far as the server says', async () => {
  const { file, secrets, tokens } = await leak('leaked')
  const scan = (token: string, ...args: string[]) =>
    mintmark(['scan', file, '--also', 'hex', '--verify', ...args], {
      env: { MINTMARK_URL: server.url, MINTMARK_TOKEN: token },
    })
  const lives = ({ findings }: { findings: { alive: boolean | null }[] }) =>
    findings.map(({ alive }) => alive)

  const full = await scan(adminToken, '--json')
  expect(full.status).toBe(1)
  // Bound to addresses that are not ours, it is alive all the same; client secrets are no tokens.
  expect(lives(full.json())).toEqual([true, true, false, null, false, false, true])
  const shown = await scan(adminToken)
  expect(shown.stdout).toMatch(/^WHERE +KIND +SECRET +ALIVE +TOKEN\n/)
  expect(shown.stdout).toContain('6 secrets in 7 places, 2 alive.')
  expect(secrets.filter((secret) => (full.stdout + shown.stdout).includes(secret))).toEqual([])
  expect((await scan(adminToken, '--sarif')).stdout).toContain('It is alive.')

  // Only who may know hears why it is no.
  const { users } = createClient({ url: server.url, token: adminToken })
  const bob = await users.create({ username: 'bob' })
  const bobs = await tokens.create({ name: 'bob', ownerId: bob.id })
  expect(lives((await scan(bobs.secret, '--json')).json())).toEqual([
    ...[true, null, null, null, null, null, true],
  ])
})

it('a server that does not answer does not hide what was found', async () => {
  const { file } = await leak('other')
  const env = { MINTMARK_URL: 'http://127.0.0.1:1', MINTMARK_TOKEN: 'x'.repeat(40) }
  const ran = await mintmark(['scan', file, '--verify', '--json'], { env })
  expect(ran.status).toBe(1)
  expect(ran.json()).toMatchObject({
    findings: { length: 6 },
    problems: [{ path: null, message: expect.stringContaining('cannot be reached') }],
  })
  const without = await mintmark(['scan', file, '--verify'], { env: { MINTMARK_URL: server.url } })
  expect(without).toMatchObject({ status: 3, stderr: expect.stringContaining('MINTMARK_TOKEN') })
})
