import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { sqliteDatabase } from '../support/database.ts'
import { EVERYTHING, makeToken } from '../support/people.ts'
import { startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'
import { startServer } from '../support/server.ts'
import { insertTokens, type TokenRow } from '../support/token-rows.ts'

const COUNT = Number(process.env.MINTMARK_TEST_TOKENS ?? 100_000)
const MAX_STALL_MS = 50

function* rowsOf(ownerId: string, count: number): Generator<TokenRow> {
  for (let i = 0; i < count; i++) {
    const id = `01900000-0000-7100-8000-${String(i).padStart(12, '0')}`
    yield {
      id,
      familyId: id,
      ownerId,
      creatorId: ownerId,
      kind: 'api',
      clientId: undefined,
      parentId: undefined,
      via: 'api',
      accessLevel: 'READ_ONLY',
      name: `made ${i}`,
      description: '',
      roles: ['deployer'],
      scopes: ['read'],
      groups: [],
      createdAtMs: i,
      usedAtMs: i % 2 === 0 ? i : undefined,
      ip: i % 2 === 0 ? '192.0.2.7' : undefined,
      expiresAtMs: undefined,
      revokedAtMs: undefined,
      supersededAtMs: undefined,
    }
  }
}

it('100,000 tokens are revoked while verify goes on', async () => {
  const server = await startServer()
  const { id: ownerId } = await server.makeUser({ username: 'robot' })
  const { secret } = await makeToken(server, { name: 'kept', ...EVERYTHING })
  await server.database.transaction((tx) => insertTokens(tx, rowsOf(ownerId, COUNT)))
  const { verifier } = server.app.core

  /** How many verdicts a second, and the longest that anybody waits for a turn. */
  const watch = async (until: () => Promise<boolean> | boolean) => {
    const startedMs = performance.now()
    let lookAtMs = startedMs + 500
    let verdicts = 0
    const stalls: number[] = []
    let turnMs = startedMs
    for (;;) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      stalls.push(performance.now() - turnMs)
      turnMs = performance.now()
      for (let i = 0; i < 50; i++, verdicts++) {
        const verdict = verifier.verify(secret)
        expect((verdict instanceof Promise ? await verdict : verdict).active).toBe(true)
      }
      if (performance.now() < lookAtMs) continue
      lookAtMs = performance.now() + 500
      if (await until()) break
      turnMs = performance.now()
    }
    stalls.sort((a, b) => a - b)
    return {
      perSecond: Math.round((verdicts * 1000) / (performance.now() - startedMs)),
      p99: stalls[Math.floor(stalls.length * 0.99)] ?? 0,
      p9999: stalls[Math.floor(stalls.length * 0.9999)] ?? 0,
      longest: stalls.at(-1) ?? 0,
    }
  }

  const quietUntilMs = performance.now() + 3000
  const quiet = await watch(() => performance.now() > quietUntilMs)
  const startedMs = performance.now()
  const answer = await server.call('POST', '/api/v1/tokens:bulk', {
    body: { action: 'revoke', q: 'owner:robot name~made' },
  })
  expect(answer.status).toBe(202)
  const job = async () => (await server.call('GET', `/api/v1/jobs/${answer.body.id}`)).body
  const busy = await watch(async () => (await job()).finishedAt !== null)
  const seconds = Math.round((performance.now() - startedMs) / 1000)
  process.stderr.write(`${COUNT} tokens in ${seconds} s\n${JSON.stringify({ quiet, busy })}\n`)
  expect(await job()).toMatchObject({ state: 'done', total: COUNT, changed: COUNT })
  expect(busy.longest).toBeLessThan(MAX_STALL_MS)
  await server.close()
})

it('a bulk revocation survives kill -9, again and again', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-bulk-'))
  const token = `boot-${randomBytes(30).toString('base64url')}`
  const env = { MINTMARK_BOOTSTRAP_TOKEN: token }
  const database = sqliteDatabase(join(dataDir, 'mintmark.db'))
  const count = Math.min(COUNT, 20_000)
  let server = await startProcess({ dataDir, env })
  const { body: robot } = await rest(server.url, token).call('POST', '/users', {
    body: { username: 'robot' },
  })
  await server.end('SIGTERM')
  await database.transaction((tx) => insertTokens(tx, rowsOf(robot.id, count)))
  server = await startProcess({ dataDir, env })
  const { body: started } = await rest(server.url, token).call('POST', '/tokens:bulk', {
    body: { action: 'revoke', q: 'owner:robot' },
    idempotencyKey: 'one-of-many',
  })
  let job = started
  let kills = 0
  while (job.finishedAt === null) {
    // Longer than the killed server keeps the job.
    await sleep(2200 + Math.random() * 1500)
    await server.end('SIGKILL')
    kills++
    expect(await database.query('pragma integrity_check')).toEqual([{ integrity_check: 'ok' }])
    server = await startProcess({ dataDir, env })
    const { body } = await rest(server.url, token).call('GET', `/jobs/${started.id}`)
    expect(body.done).toBeGreaterThanOrEqual(job.done)
    job = body
  }
  process.stderr.write(`${kills} kills\n`)
  expect(job).toMatchObject({ state: 'done', total: count, done: count, changed: count })
  await server.end('SIGTERM')
  const [events] = await database.query(
    "select count(*) as n from audit where action = 'token.revoked'",
  )
  expect(Number(events?.n)).toBe(count)
  rmSync(dataDir, { recursive: true, force: true })
})
