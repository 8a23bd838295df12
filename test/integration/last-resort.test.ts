import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { sqliteDatabase } from '../support/database.ts'
import { launch, type ServerProcess, startProcess } from '../support/process.ts'
import { startReceiver, TO_LOOPBACK } from '../support/receiver.ts'
import { type Rest, rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

// A server in a process of its own, in which something fails that no request waits for.

const adminToken = `boot-${randomBytes(30).toString('base64url')}`
const FAILURES = fileURLToPath(new URL('../support/late-failures.ts', import.meta.url))
const CLIENTS = 6
/** Longer than any limit of ours: whoever waits so long hangs. */
const HANGS_MS = 10_000
const PATIENCE = { timeout: 20_000, interval: 50 }

interface Started {
  server: ServerProcess
  api: Rest
}

async function start(dataDir: string, env: Record<string, string> = {}): Promise<Started> {
  const server = await startProcess({
    dataDir,
    env: { MINTMARK_BOOTSTRAP_TOKEN: adminToken, ...env },
  })
  onTestFinished(async () => {
    await server.end('SIGKILL')
  })
  return { server, api: rest(server.url, adminToken) }
}

const failing = (failure: string, env: Record<string, string> = {}) => ({
  NODE_OPTIONS: `--import=${FAILURES}`,
  FAILURE: failure,
  ...env,
})

interface Held {
  live: { id: string; secret: string }
  revoked: { id: string; secret: string }
}

async function makeTokens(api: Rest): Promise<Held> {
  const make = async (name: string) => (await api.call('POST', '/tokens', { body: { name } })).body
  const [live, revoked] = [await make('live'), await make('revoked')]
  await api.call('POST', `/tokens/${revoked.id}/revoke`, { body: {} })
  return { live, revoked }
}

interface Asking {
  answers: number
  wrong: string[]
  /** Resolves when no client asks any more. */
  stop(): Promise<void>
}

/** Asks on and on, whether or not anybody answers, and collects what was answered wrongly. */
function keepAsking(url: string, held: Held): Asking {
  let isOver = false
  const asking: Asking = {
    answers: 0,
    wrong: [],
    async stop() {
      isOver = true
      await clients
    },
  }
  const ask = async (kind: number) => {
    const isAnonymous = kind === 2
    const token = (kind === 0 ? held.live : held.revoked).secret
    const response = await fetch(`${url}/api/v1/tokens${isAnonymous ? '' : '/verify'}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(isAnonymous ? {} : { authorization: `Bearer ${adminToken}` }),
      },
      body: JSON.stringify(isAnonymous ? { name: 'of nobody' } : { token }),
      signal: AbortSignal.timeout(HANGS_MS),
    })
    const body = (await response.json()) as { active?: boolean }
    asking.answers++
    const isRight = isAnonymous
      ? response.status === 401
      : response.status === 200 && body.active === (kind === 0)
    if (!isRight) asking.wrong.push(`${kind}: ${response.status} ${JSON.stringify(body)}`)
  }
  const client = async (number: number) => {
    // Cut off, or refused: no answer is no wrong one.
    while (!isOver) await ask(number % 3).catch(() => sleep(20))
  }
  const clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)))
  return asking
}

const answered = (asking: Asking, count: number) =>
  vi.waitFor(() => expect(asking.answers).toBeGreaterThan(count), PATIENCE)

async function failNow({ server }: Started, failure: string): Promise<void> {
  if (failure !== 'request listener') return server.signal('SIGUSR2')
  const signal = AbortSignal.timeout(HANGS_MS)
  await expect(fetch(`${server.url}/failing`, { signal })).rejects.toThrow()
}

const fatalIn = (output: string) =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(({ level }) => level === 60)

describe('an error that nobody caught', () => {
  test.each([
    'timer',
    'tick',
    'listener',
    'stream',
    'rejection',
    'rejection without an error',
    'request listener',
  ])('ends the server, and it answers nothing wrong before: %s', async (failure) => {
    const dataDir = temporaryDirectory()
    const started = await start(dataDir, failing(failure))
    const { server, api } = started
    const held = await makeTokens(api)
    const asking = keepAsking(server.url, held)
    await answered(asking, 20)
    await failNow(started, failure)
    const { status, signal, output } = await server.ended
    expect({ status, signal }).toEqual({ status: 1, signal: null })
    await asking.stop()
    expect(asking.wrong).toEqual([])

    const [line, ...others] = fatalIn(output)
    expect(others).toEqual([])
    expect(line.msg).toBe('Nobody caught an error, so this process ends')
    expect(line.err.stack).toContain('    at ')
    expect(output).toMatch(/^Nobody caught an error, so this process ends: /m)
    expect(output).not.toContain('a-secret-of-somebody')

    const again = await start(dataDir)
    expect(await again.api.isActive(held.live.secret)).toBe(true)
    expect(await again.api.isActive(held.revoked.secret)).toBe(false)
  })

  test('ends one of two processes, which is replaced', async () => {
    const env = failing('request listener', { MINTMARK_WORKERS: '2' })
    const started = await start(temporaryDirectory(), env)
    const { server, api } = started
    const held = await makeTokens(api)
    const asking = keepAsking(server.url, held)
    await answered(asking, 20)
    await failNow(started, 'request listener')
    await vi.waitFor(() => expect(server.output()).toContain('ended and is replaced'), PATIENCE)
    await answered(asking, asking.answers + 50)
    await asking.stop()
    expect(asking.wrong).toEqual([])
    expect(fatalIn(server.output())).toHaveLength(1)
    expect((await server.end('SIGTERM')).status).toBe(0)
  })
})

test('what fails in the background is logged, hurts no verdict, and is done by the next round that can', async () => {
  const dataDir = temporaryDirectory()
  const database = sqliteDatabase(join(dataDir, 'mintmark.db'))
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const journal = join(dataDir, 'journal.log')
  const { server, api } = await start(dataDir, {
    ...TO_LOOPBACK,
    MINTMARK_REVOCATION_JOURNAL: journal,
  })
  await api.call('POST', '/webhooks', { body: { url: receiver.url } })
  await vi.waitFor(() => expect(existsSync(journal)).toBe(true), PATIENCE)

  // The server may be writing.
  const patiently = <T>(work: () => Promise<T>) => vi.waitFor(work, PATIENCE)
  const fail = (name: string, event: string) =>
    patiently(() =>
      database.tamper(
        `create trigger ${name} before ${event} begin select raise(abort, 'failed'); end`,
      ),
    )
  await fail('no_use', 'update on token')
  await fail('no_delivery', 'insert on delivery')
  renameSync(journal, `${journal}.away`)
  mkdirSync(journal)
  const { body: live } = await api.call('POST', '/tokens', { body: { name: 'live' } })
  const { body: user } = await api.call('POST', '/users', { body: { username: 'alice' } })
  expect(await api.isActive(live.secret)).toBe(true)
  // An end for the journal that changes no token.
  await api.call('DELETE', `/users/${user.id}`)
  const says = (text: string) => vi.waitFor(() => expect(server.output()).toContain(text), PATIENCE)
  await says('Last-used times could not be written')
  await says('Events could not be delivered')
  await says('The journal of revocations could not be written')
  expect(await api.isActive(live.secret)).toBe(true)
  expect(receiver.received).toEqual([])
  const asked = await fetch(`${server.url}/api/v1/tokens`)
  expect(asked.status).toBe(401)

  await patiently(() => database.tamper('drop trigger no_use'))
  await patiently(() => database.tamper('drop trigger no_delivery'))
  rmdirSync(journal)
  renameSync(`${journal}.away`, journal)
  await vi.waitFor(async () => {
    const [row] = await database.query(`select last_used_at_ms from token where id = '${live.id}'`)
    expect(row?.last_used_at_ms).toEqual(expect.any(Number))
    const types = receiver.received.map(({ json }) => json.type)
    expect(types).toContain('token.created')
    expect(readFileSync(journal, 'utf8')).toContain(user.id)
  }, PATIENCE)
  expect(fatalIn(server.output())).toEqual([])
  expect((await server.end('SIGTERM')).status).toBe(0)
})

test('a log that nobody reads any more ends nothing', async () => {
  const { child, output, ended } = launch({
    dataDir: temporaryDirectory(),
    env: { MINTMARK_BOOTSTRAP_TOKEN: adminToken, MINTMARK_LOG_LEVEL: 'info' },
  })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const urlOf = () => /listens on (\S+)/.exec(output())?.[1] ?? ''
  await vi.waitFor(() => expect(urlOf()).not.toBe(''), PATIENCE)
  const api = rest(urlOf(), adminToken)
  child.stdout?.destroy()
  for (let i = 0; i < 20; i++) expect(await api.isActive(adminToken)).toBe(true)
  const told = () => output().split('The log cannot be written').length - 1
  await vi.waitFor(() => expect(told()).toBe(1), PATIENCE)
  expect(await api.isActive(adminToken)).toBe(true)
  expect(told()).toBe(1)
})
