import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@mintmark/sdk'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { COMPILE_CACHE, mintmark } from '../support/cli.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'

const guide = readFileSync(new URL('../../docs/guide/inventory.md', import.meta.url), 'utf8')
/** Every command of the guide, as it stands there. */
const commands = [...guide.matchAll(/```sh\n(.*?)```/gs)]
  .flatMap(([, block = '']) => block.trim().split('\n'))
  .map((line) => line.replace(/ > \S+$/, ''))

const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-guide-'))
const token = randomBytes(30).toString('base64url')
let server: ServerProcess

beforeAll(async () => {
  server = await startProcess({
    dataDir,
    env: { MINTMARK_BOOTSTRAP_TOKEN: token, NODE_COMPILE_CACHE: COMPILE_CACHE },
  })
  const { users, groups, clients, tokens } = createClient({ url: server.url, token })
  const { id: ownerId } = await users.create({ username: 'alice' })
  await users.create({ username: 'bob' })
  const { id: groupId } = await groups.create({ name: 'ops' })
  await groups.setMember(groupId, ownerId, 'READ')
  await clients.create({
    clientId: 'portal',
    name: 'Portal',
    type: 'confidential',
    grants: ['client_credentials'],
  })
  await tokens.create({ ownerId, name: 'ci', groups: [{ group: 'ops', mode: 'READ' }] })
}, 60_000)
afterAll(async () => {
  await server.end('SIGTERM')
  rmSync(dataDir, { recursive: true, force: true })
})

it('has commands', () => {
  expect(commands.length).toBeGreaterThan(12)
})

it.each(commands)('%s', async (line) => {
  const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(
    ([, quoted, plain]) => quoted ?? plain ?? '',
  )
  expect(words.shift()).toBe('mintmark')
  const asks = words.includes('--query') && !words.includes('--dry-run') && !words.includes('--yes')
  const env = { MINTMARK_URL: server.url, MINTMARK_TOKEN: token }
  // There is no terminal to answer on.
  const { status, stderr } = await mintmark(asks ? [...words, '--yes'] : words, { env, input: '' })
  expect(stderr).not.toContain('error')
  expect(status, stderr).toBe(0)
})
