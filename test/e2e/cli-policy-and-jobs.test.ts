import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { idMaker, type JobId } from '../../src/core/id.ts'
import { jobStore } from '../../src/store/jobs.ts'
import { mintmark, type Ran } from '../support/cli.ts'
import { makeGroup, makeToken } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'

// The commands about rules, about policies that are tried, and about jobs, each as people and as scripts
// call them.

const folder = mkdtempSync(join(tmpdir(), 'mintmark-policy-'))
const KNOWN = { acknowledged: 1, nodes: 1 }
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/)
let server: TestServer
let url: string

beforeAll(async () => {
  server = await startServer()
  url = await server.app.server.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

function run(words: string[], input = ''): Promise<Ran> {
  return mintmark(words, { env: { MINTMARK_URL: url, MINTMARK_TOKEN: server.adminToken }, input })
}

/** What a command prints to people, which must succeed. */
async function text(...words: string[]): Promise<string> {
  const ran = await run(words)
  expect(ran).toMatchObject({ status: 0, stderr: '' })
  return ran.stdout
}

async function json(...words: string[]) {
  const ran = await run([...words, '--json'])
  expect(ran).toMatchObject({ status: 0, stderr: '' })
  return ran.json()
}

const removeRules = () =>
  server.call('PATCH', '/api/v1/policy', { body: { tokenRules: [] } }).then(({ status }) => {
    expect(status).toBe(200)
  })

describe('policy rule', () => {
  beforeEach(removeRules)

  it('set takes everything that a rule can say, and list shows it', async () => {
    expect(await text('policy', 'rule', 'list')).toBe('There are no rules.\n')
    expect(await json('policy', 'rule', 'list')).toEqual({ items: [] })

    await makeGroup(server, 'rule-crew', {})
    const words =
      'policy rule set ci --kind api --kind service --group rule-crew --max-ttl 30d --default-ttl 1d ' +
      '--idle 7d --require-description --ip 192.0.2.0/24 --ip 2001:db8::/32 --scope read ' +
      '--created-by group_admins --rate 600/1m --notice 3d --notice 1d'
    expect(await json(...words.split(' '), '--description', 'for the builds')).toEqual({
      name: 'ci',
      description: 'for the builds',
      kinds: ['api', 'service'],
      groups: ['rule-crew'],
      maxTtlSeconds: 2_592_000,
      defaultTtlSeconds: 86_400,
      idleSeconds: 604_800,
      requiresDescription: true,
      allowedIps: ['192.0.2.0/24', '2001:db8::/32'],
      roles: null,
      scopes: ['read'],
      createdBy: 'group_admins',
      rate: { requests: 600, windowSeconds: 60 },
      noticeSeconds: [259_200, 86_400],
      ...KNOWN,
    })
    const { items } = await json('policy', 'rule', 'list')
    expect(items).toMatchObject([{ name: 'ci', groups: ['rule-crew'] }])
    const shown = await text('policy', 'rule', 'list')
    expect(shown).toMatch(/^NAME +KINDS +GROUPS +SAYS\n/)
    expect(shown).toMatch(/\nci +api service +rule-crew +at most 30 days; by default 24 hours;/)
    expect(shown).toContain('described; from 192.0.2.0/24 2001:db8::/32; scopes read;')
    expect(await text('policy', 'show')).toMatch(/tokenRules +ci\n/)
  })

  it('set replaces the rule of that name, and what is left out it no longer says', async () => {
    await text('policy', 'rule', 'set', 'fair', '--kind', 'api', '--max-ttl', '1d')
    expect(await text('policy', 'rule', 'set', 'fair', '--rate', '5/10s')).toBe(
      'fair: 5 uses in 10 seconds\n',
    )
    const { items } = await json('policy', 'rule', 'list')
    expect(items).toMatchObject([{ name: 'fair', kinds: null, maxTtlSeconds: null }])
  })

  it('remove takes it away, once', async () => {
    await text('policy', 'rule', 'set', 'a', '--idle', '30d')
    await text('policy', 'rule', 'set', 'b', '--idle', '30d')
    expect(await text('policy', 'rule', 'remove', 'a')).toBe('Removed the rule a.\n')
    expect(await json('policy', 'rule', 'remove', 'b')).toEqual({ removed: 'b', ...KNOWN })
    const again = await run(['policy', 'rule', 'remove', 'b', '--json'])
    expect(again).toMatchObject({ status: 1, stdout: '' })
    expect(JSON.parse(again.stderr)).toMatchObject({ error: { code: 'not_found' } })
  })

  it.each([
    ['--kind password', 'api'],
    ['--max-ttl soon', 'Write a time like 30s, 5m or 1h.'],
    ['--rate 600', 'Write a rate like 600/1m'],
    ['--created-by me', 'group_admins'],
  ])('set %s is wrong usage, and says what would be right', async (option, help) => {
    const ran = await run(['policy', 'rule', 'set', 'x', ...option.split(' ')])
    expect(ran).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining(help) })
  })

  it('what the server refuses ends with 1 and changes nothing', async () => {
    const ran = await run(['policy', 'rule', 'set', 'x', '--group', 'nobody-is-in-it'])
    expect(ran).toMatchObject({ status: 1, stdout: '' })
    expect(ran.stderr).toContain('nobody-is-in-it')
    expect(await json('policy', 'rule', 'list')).toEqual({ items: [] })
  })
})

describe('policy test', () => {
  const file = join(folder, 'rules.json')
  beforeAll(async () => {
    await removeRules()
    await makeToken(server, { name: 'tried', expiresAt: null })
  })

  it('without a file tells what the policy in force does', async () => {
    expect(await text('policy', 'test')).toMatch(
      /^\d+ active tokens were looked at\. The policy does nothing to them\.\n$/,
    )
    expect(await json('policy', 'test')).toEqual({ total: expect.any(Number), effects: [] })
  })

  it('tries the rules of a file, and changes nothing', async () => {
    writeFileSync(file, JSON.stringify([{ name: 'short', kinds: ['api'], maxTtlSeconds: 3600 }]))
    const shown = await text('policy', 'test', '--file', file)
    expect(shown).toMatch(/\d+ end earlier than they say, \d+ of them anew:\nID +/)
    expect(shown).toMatch(/tried +admin +short +yes/)
    const { effects } = await json('policy', 'test', '--file', file)
    const [effect] = effects
    expect(effects).toHaveLength(1)
    expect(effect).toMatchObject({ effect: 'ends_earlier', newCount: effect.count })
    expect(effect.tokens).toContainEqual(
      expect.objectContaining({ id: uuid, name: 'tried', rule: 'short', isNew: true }),
    )
    expect(await json('policy', 'rule', 'list')).toEqual({ items: [] })
  })

  it('takes what policy show prints, changed, from stdin', async () => {
    const policy = await json('policy', 'show')
    const input = JSON.stringify({
      ...policy,
      tokenRules: [{ name: 'told', requiresDescription: true }],
    })
    const ran = await run(['policy', 'test', '--file', '-', '--json'], input)
    expect(ran.json()).toMatchObject({ effects: [{ effect: 'lacks_description' }] })
  })

  it('says what is wrong with a file', async () => {
    const tried = (path: string) => run(['policy', 'test', '--file', path])
    const wrong = (help: string) => ({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining(help),
    })
    expect(await tried(join(folder, 'missing.json'))).toMatchObject(wrong('cannot be read'))
    writeFileSync(file, '[{')
    expect(await tried(file)).toMatchObject(wrong('is not JSON'))
    writeFileSync(file, '42')
    expect(await tried(file)).toMatchObject(wrong('neither a list of rules nor a policy'))
    writeFileSync(file, '[{ "name": "x", "kinds": ["password"] }]')
    expect(await tried(file)).toMatchObject({ status: 1, stdout: '' })
  })
})

describe('job', () => {
  it('list and show tell what was done to which tokens', async () => {
    expect(await text('job', 'list')).toBe(
      'No jobs. Begin one: mintmark token revoke --query <query>\n',
    )
    expect(await json('job', 'list')).toMatchObject({ items: [] })

    const owner = await server.makeUser({ username: 'job-alice' })
    for (const name of ['one', 'two']) await makeToken(server, { ownerId: owner.id, name })
    const query = 'owner:job-alice name:one,two'
    const begun = await run([
      'token',
      'revoke',
      '--query',
      query,
      '--reason',
      'leaked',
      '--yes',
      '--no-wait',
      '--json',
    ])
    expect(begun.status).toBe(0)
    const { id } = begun.json()
    expect(await json('job', 'show', id, '--wait')).toMatchObject({
      id,
      state: 'done',
      action: 'revoke',
      q: query,
      reason: 'leaked',
      total: 2,
      done: 2,
      changed: 2,
      skipped: 0,
    })
    const shown = await text('job', 'show', id)
    expect(shown).toMatch(/state +done\n/)
    expect(shown).toMatch(/query +owner:job-alice name:one,two\n/)
    expect(shown).toMatch(/asked by +admin\n/)
    expect(await text('job', 'list')).toMatch(
      new RegExp(`^ID +STATE +ACTION +DONE +QUERY.*\\n${id} +done +revoke +2/2 +owner:job-alice`),
    )
    expect(await json('job', 'list')).toMatchObject({ items: [{ id, state: 'done' }] })
    expect(await json('job', 'list', '--open')).toMatchObject({ items: [] })
  })

  it('cancel stops one under way, and what it has done stays done', async () => {
    for (const cancel of [json, text]) {
      const id = await jobOfAnotherNode()
      expect(await json('job', 'list', '--open')).toMatchObject({
        items: [{ id, state: 'running', done: 1, total: 3 }],
      })
      const cancelled = await cancel('job', 'cancel', id)
      if (typeof cancelled === 'string') expect(cancelled).toMatch(/state +cancelled\n/)
      else expect(cancelled).toMatchObject({ id, state: 'cancelled', done: 1, changed: 1 })
      expect(await json('job', 'list', '--open')).toMatchObject({ items: [] })
      expect(await json('job', 'cancel', id)).toMatchObject({ state: 'cancelled' })
    }
  })

  it('an id that no job has is refused in a sentence', async () => {
    for (const action of ['show', 'cancel']) {
      const ran = await run(['job', action, '01900000-0000-7000-8000-000000000000'])
      expect(ran).toMatchObject({
        status: 1,
        stdout: '',
        stderr: 'There is no such job. See: mintmark job list\n',
      })
      expect(await run(['job', action, 'nonsense'])).toMatchObject({ status: 2, stdout: '' })
    }
  })

  /** One that another node is in the middle of, so that it does not end while it is looked at. */
  async function jobOfAnotherNode(): Promise<string> {
    const { items } = (await server.call('GET', '/api/v1/jobs')).body
    const nowMs = server.clock.now()
    return server.database.transaction(async (tx) => {
      const jobs = jobStore(tx)
      const done = await jobs.byId(items.at(-1).id)
      if (done === undefined) throw new Error('There is no job yet.')
      const id = idMaker(server.clock, randomBytes)() as JobId
      await jobs.insert({
        ...done,
        id,
        state: 'running',
        total: 3,
        done: 1,
        changed: 1,
        finishedAtMs: undefined,
      })
      await jobs.take(id, { node: 'another', nowMs, untilMs: nowMs + 3_600_000 })
      return id
    })
  }
})
