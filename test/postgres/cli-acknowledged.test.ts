import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { mintmark } from '../support/cli.ts'
import { makeGroup, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

// Commands that take something away, against two servers on one database: they say who knows.

const LEASE = { MINTMARK_NODE_LEASE: '5', MINTMARK_POLL_MS: '100' }
let one: TestServer
let two: TestServer
let env: Record<string, string>

beforeAll(async () => {
  one = await startServer(LEASE)
  two = await startServer(LEASE, { beside: one, clock: one.clock })
  await vi.waitFor(
    () => expect([one, two].map(({ app }) => app.core.isCurrent())).toEqual([true, true]),
    { timeout: 15_000 },
  )
  const address = await one.app.server.listen({ host: '127.0.0.1', port: 0 })
  env = { MINTMARK_URL: address, MINTMARK_TOKEN: one.adminToken }
})
afterAll(async () => {
  await two.close()
  await one.close()
})

const run = (...words: string[]) => mintmark(words, { env })

it('says to people how many nodes have acknowledged, beside the answer', async () => {
  const { id } = await makeToken(one, {})
  expect(await run('token', 'revoke', id)).toEqual({
    status: 0,
    stdout: `Revoked:\n  ${id}\n`,
    stderr: 'Acknowledged by 2 of 2 nodes.\n',
    json: expect.any(Function),
  })
  // Whoever was told that a node is late asks again.
  expect(await run('token', 'revoke', id)).toMatchObject({
    stdout: 'It was no longer active. Nothing was changed.\n',
    stderr: 'Acknowledged by 2 of 2 nodes.\n',
  })
  await one.makeUser({ username: 'alice' })
  const disabled = await run('user', 'update', 'alice', '--disable')
  expect(disabled.stderr).toBe('Acknowledged by 2 of 2 nodes.\n')
})

it('says so in the document of --json, whatever the answer looks like', async () => {
  const bob = await one.makeUser({ username: 'bob' })
  await makeGroup(one, 'crew', { [bob.id]: 'WRITE' })
  const left = await run('group', 'remove-member', 'crew', 'bob', '--json')
  expect(left.json()).toMatchObject({ removed: true, acknowledged: 2, nodes: 2 })
  expect(left.stderr).toBe('')
  const deleted = await run('user', 'delete', 'bob', '--yes', '--json')
  expect(deleted.json()).toEqual({ deleted: bob.id, acknowledged: 2, nodes: 2 })
})

it('says nothing where nodes have nothing to forget', async () => {
  const made = await run('user', 'create', 'carol', '--json')
  expect(made.json()).toMatchObject({ username: 'carol' })
  expect(made.json()).not.toHaveProperty('acknowledged')
})

it('comes back at once with --wait none', async () => {
  const { id } = await makeToken(one, {})
  const { stderr } = await run('token', 'revoke', id, '--wait', 'none')
  expect(stderr).toBe(
    'Acknowledged by 1 of 2 nodes. The others follow, or stop answering by themselves.\n',
  )
  const wrong = await run('token', 'revoke', id, '--wait', 'some')
  expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('all, none') })
})
