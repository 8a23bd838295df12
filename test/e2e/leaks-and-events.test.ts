import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@mintmark/sdk'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { COMPILE_CACHE, mintmark } from '../support/cli.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { type Receiver, startReceiver, TO_LOOPBACK } from '../support/receiver.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-leaks-'))
const adminToken = randomBytes(30).toString('base64url')
let server: ServerProcess
let receiver: Receiver
let env: Record<string, string>

beforeAll(async () => {
  receiver = await startReceiver()
  server = await startProcess({
    dataDir,
    env: { ...TO_LOOPBACK, MINTMARK_BOOTSTRAP_TOKEN: adminToken },
  })
  env = { MINTMARK_URL: server.url, MINTMARK_TOKEN: adminToken }
})
afterAll(async () => {
  await server.end('SIGTERM')
  await receiver.close()
  rmSync(dataDir, { recursive: true, force: true })
})

const run = (args: string[], input = '') => mintmark(args, { env, input })

/** What `mintmark event follow --json` prints until it is stopped. */
function follow() {
  const child = spawn(process.execPath, ['bin/mintmark.mjs', 'event', 'follow', '--json'], {
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return {
    heard: () =>
      text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line).type as string),
    stop: () => child.kill(),
  }
}

it('a leaked token is found in a repository, reported, and dies while one looks on', async () => {
  const made = await run(['token', 'create', 'deploy', '--json'])
  const { id, secret } = made.json()
  const repository = temporaryDirectory()
  writeFileSync(join(repository, 'app.env'), `TOKEN=${secret}\n`)
  const listening = follow()
  const hook = await run(['webhook', 'create', receiver.url, '--type', 'token.leaked'])
  expect(hook.stdout).toMatch(/^whsec_\S+\n$/)

  const scan = await run(['scan', repository])
  expect(scan.status).toBe(1)
  const url = 'https://git.example.com/web/app.env'
  const report = await run(['leak', 'report', '--url', url], `${secret}\n`)
  expect(report.stdout).toContain(`Token ${id}: it is quarantined.`)
  expect(report.stdout + report.stderr).not.toContain(secret)

  const asHolder = createClient({ url: server.url, token: secret })
  await expect(asHolder.tokens.self()).rejects.toMatchObject({ status: 401 })
  const listed = await run(['token', 'list', 'state:quarantined', '--json'])
  expect(listed.json().items.map((token: { id: string }) => token.id)).toEqual([id])
  expect((await run(['token', 'show', id])).stdout).toMatch(/state +quarantined: leaked: cli/)
  await expect
    .poll(() => receiver.received.map(({ json }) => json.data.details.url), { timeout: 10_000 })
    .toEqual([url])
  await expect
    .poll(() => listening.heard(), { timeout: 15_000 })
    .toEqual(expect.arrayContaining(['token.leaked', 'token.quarantined']))
  await expect.poll(() => listening.heard(), { timeout: 15_000 }).toContain('token.quarantine_used')
  listening.stop()

  const released = await run(['token', 'release', id, '--reason', 'only a test vector'])
  expect(released.stdout).toContain(id)
  expect((await asHolder.tokens.self()).state).toBe('active')
  await run(['token', 'quarantine', id])
  await run(['token', 'revoke', id])
  expect((await run(['token', 'show', id])).stdout).toMatch(/state +revoked/)
}, 60_000)

it('event follow says that a server is away, and goes on trying', async () => {
  const child = spawn(process.execPath, ['bin/mintmark.mjs', 'event', 'follow'], {
    env: { ...env, PATH: process.env.PATH, MINTMARK_URL: 'http://127.0.0.1:1' },
  })
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  await expect.poll(() => text, { timeout: 30_000 }).toContain('cannot be reached. Trying again')
  expect(child.exitCode).toBeNull()
  child.kill()
}, 40_000)

it('events and webhooks have their commands', async () => {
  const events = await run(['event', 'list', '--type', 'token.leaked'])
  expect(events.stdout).toContain('https://git.example.com/web/app.env')
  const wrong = await run(['event', 'list', '--type', 'token.gone'])
  expect(wrong.status).toBe(1)
  const [webhook] = (await run(['webhook', 'list', '--json'])).json().items
  expect((await run(['webhook', 'test', webhook.id])).stdout).toContain('It arrived: 204')
  const rotated = await run(['webhook', 'rotate', webhook.id, '--overlap', '1h'])
  expect(rotated.stdout).toMatch(/^whsec_\S+\n$/)
  const deliveries = (await run(['webhook', 'deliveries', '--json'])).json().items
  expect(deliveries).toMatchObject([{ state: 'delivered', attempts: 1 }])
  const shown = await run(['webhook', 'delivery', deliveries[0].id])
  expect(shown.stdout).toMatch(/state +delivered\n/)
  expect(shown.stdout).toMatch(/\nTRY +AT +TOOK +ANSWER\n1 .* ms +204\n$/)
  for (const args of [['show'], ['delivery'], ['redeliver'], ['test']]) {
    const wrong = await run(['webhook', ...args, 'x'])
    expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('Find it with:') })
  }
  const again = await run(['webhook', 'redeliver', deliveries[0].id])
  expect(again.stdout).toContain('in line again')
  const changed = await run(['webhook', 'update', webhook.id, '--disable', '--all-types'])
  expect(changed.stdout).toMatch(/state +disabled/)
  expect((await run(['webhook', 'show', webhook.id, '--json'])).json().types).toBeNull()
  expect((await run(['webhook', 'delete', webhook.id, '--yes'])).status).toBe(0)
  const policy = await run(['policy', 'set', 'noticeSeconds=14d,1d', 'leakAction=revoke'])
  expect(policy.stdout).toMatch(/leakAction +revoke/)
  expect(policy.stdout).toMatch(/noticeSeconds +1209600 \(14 days\), 86400/)
}, 60_000)

it('every secret on stdin is reported, not the first alone', async () => {
  await run(['policy', 'set', 'leakAction=quarantine'])
  const made = await Promise.all(['a', 'b'].map((name) => run(['token', 'create', name, '--json'])))
  const tokens = made.map((each) => each.json() as { id: string; secret: string })
  const lines = [...tokens.map(({ secret }) => secret), '', 'not-a-token', tokens[0]?.secret]
  const report = await run(['leak', 'report'], `${lines.join('\n')}\n`)
  expect(report.stdout).toBe(
    [
      'Reported 3 secrets.',
      ...tokens.map(
        ({ id }) =>
          `Token ${id}: it is quarantined. Revoke it, or release it if this was a mistake.`,
      ),
      '1 of them no token has.\n',
    ].join('\n'),
  )
  expect((await run(['leak', 'report'])).status).toBe(2)
})

it('scan --report stops what it finds, and says which tokens those were', async () => {
  const [first, second] = await Promise.all(
    ['c', 'd'].map(async (name) => (await run(['token', 'create', name, '--json'])).json()),
  )
  await run(['token', 'revoke', second.id])
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'app.env'), `A=${first.secret}\nB=${second.secret}\n`)
  const scan = ['scan', directory, '--report', '--source', 'web.git']
  const shown = await run([...scan, '--verify'])
  expect(shown.status).toBe(1)
  const [titles, ...rows] = shown.stdout.split('\n')
  expect(titles).toMatch(/^WHERE +KIND +SECRET +ALIVE +TOKEN +DONE$/)
  expect(rows[0]).toMatch(new RegExp(`yes +${first.id} +quarantined$`))
  expect(rows[1]).toMatch(new RegExp(`no +${second.id} +nothing to stop$`))
  expect(shown.stdout).not.toContain(first.secret)
  const { stdout } = await run(['token', 'show', first.id])
  expect(stdout).toContain(`quarantined: leaked: web.git, ${join(directory, 'app.env')}`)

  const again = (await run([...scan, '--json'])).json()
  expect(again.findings.map(({ done }: { done: string }) => done)).toEqual(['none', 'none'])
  expect((await run(['scan', directory, '--source', 'x'])).status).toBe(2)

  const wide = ['--access-level', 'full-access', '--json']
  const nobody = (await run(['token', 'create', 'e', ...wide])).json()
  const refused = await mintmark([...scan, '--json'], {
    env: { ...env, MINTMARK_TOKEN: nobody.secret },
  })
  expect(refused.json()).toMatchObject({
    findings: [{ done: null }, { done: null }],
    problems: [{ path: null, message: expect.stringContaining('leak-reporter') }],
  })
})
