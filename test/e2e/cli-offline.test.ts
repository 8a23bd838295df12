import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { COMPILE_CACHE, mintmark } from '../support/cli.ts'
import { startProcess } from '../support/process.ts'

const server = { MINTMARK_LOG_LEVEL: 'trace', NODE_COMPILE_CACHE: COMPILE_CACHE }

let dataDir: string
let env: Record<string, string>

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'mintmark-offline-'))
  env = { MINTMARK_DATA_DIR: dataDir }
})
afterEach(() => {
  rmSync(dataDir, { recursive: true, force: true })
})

describe('a life of a server', () => {
  it('starts, drains on SIGTERM, and lets nobody in through the back door while it runs', async () => {
    const first = await startProcess({ dataDir, env: server })
    const printed = /One-time password: +(\S+)/.exec(first.output())?.[1] ?? ''
    expect(printed).toMatch(/^(\w{5}-){4}\w{5}$/)
    for (const args of [
      ['admin', 'reset-password'],
      ['audit', 'verify'],
    ]) {
      expect(await mintmark(args, { env })).toMatchObject({
        status: 1,
        stdout: '',
        stderr: expect.stringContaining('Stop it first'),
      })
    }
    expect(await first.end('SIGTERM')).toMatchObject({ status: 0, signal: null })

    const reset = await mintmark(['admin', 'reset-password', '--json'], { env })
    expect(reset).toMatchObject({ status: 0, stderr: '' })
    const { username, oneTimePassword } = reset.json()
    expect(username).toBe('admin')
    expect(oneTimePassword).not.toBe(printed)

    const second = await startProcess({ dataDir, env: server })
    const online = { MINTMARK_URL: second.url }
    const chosen = `${randomBytes(12).toString('base64url')} velvet anchor`
    const login = (input: string) =>
      mintmark(['login', 'admin', '--password-stdin'], { env: online, input })
    expect((await login(`${printed}\n${chosen}`)).status).toBe(1)
    const session = await login(`${oneTimePassword}\n${chosen}`)
    expect(session.status).toBe(0)
    const token = session.stdout.trim()
    const listed = await mintmark(['audit', 'list', '--action', 'user.password_reset', '--json'], {
      env: { ...online, MINTMARK_TOKEN: token },
    })
    expect(listed.json().items).toMatchObject([{ via: 'system' }])
    const { status, output } = await second.end('SIGTERM')
    expect(status).toBe(0)
    for (const secret of [oneTimePassword, chosen, token]) expect(output).not.toContain(secret)
  })

  it('audit verify proves the trail, or names the first record that does not fit', async () => {
    const { end } = await startProcess({ dataDir, env: server })
    await end('SIGTERM')
    const intact = await mintmark(['audit', 'verify', '--json'], { env })
    expect(intact.status).toBe(0)
    const { records, lastHash } = intact.json()
    expect(intact.json().intact).toBe(true)
    const told = await mintmark(['audit', 'verify'], { env })
    expect(told.stdout).toContain(`The audit trail is intact: ${records} records`)
    expect(told.stdout).toContain(lastHash)

    const db = new DatabaseSync(join(dataDir, 'mintmark.db'))
    db.exec("update audit set via = 'xms' where sequence = 2")
    db.close()
    const broken = await mintmark(['audit', 'verify'], { env })
    expect(broken.status).toBe(1)
    expect(broken.stdout).toMatch(/BROKEN at record 2: A record was altered/)
  })
})

describe('offline commands', () => {
  it('make no database where there is none', async () => {
    for (const args of [
      ['admin', 'reset-password'],
      ['audit', 'verify', '--json'],
    ]) {
      expect(await mintmark(args, { env })).toMatchObject({
        status: 1,
        stdout: '',
        stderr: expect.stringContaining('There is no database'),
      })
    }
    expect(existsSync(join(dataDir, 'mintmark.db'))).toBe(false)
    expect(existsSync(join(dataDir, 'master.key'))).toBe(false)
  })
})

describe('config', () => {
  it('shows every setting with its source, and no secret', async () => {
    const secret = randomBytes(30).toString('base64url')
    const file = join(dataDir, 'key')
    writeFileSync(file, secret)
    const given = {
      ...env,
      MINTMARK_PORT: '9000',
      MINTMARK_BOOTSTRAP_TOKEN: secret,
      MINTMARK_MASTER_KEY_FILE: file,
    }
    const shown = await mintmark(['config'], { env: given })
    expect(shown).toMatchObject({ status: 0, stderr: '' })
    expect(shown.stdout).toContain('MINTMARK_PORT = 9000  (environment; default: 8080)')
    expect(shown.stdout).toContain('MINTMARK_HOST = 127.0.0.1  (default)')
    expect(shown.stdout).toContain('MINTMARK_BOOTSTRAP_TOKEN = [secret]  (environment)')
    expect(shown.stdout).not.toContain(secret)

    const { settings, problems } = (await mintmark(['config', '--json'], { env: given })).json()
    expect(problems).toEqual([])
    expect(settings).toContainEqual(
      expect.objectContaining({ name: 'MINTMARK_MASTER_KEY', source: 'file', value: file }),
    )
    expect(JSON.stringify(settings)).not.toContain(secret)
  })

  it('tells all problems at once and ends with 2, and so does serve', async () => {
    const bad = { ...env, MINTMARK_PORT: 'http', MINTMARK_TLS_CERT: 'x', MINTMARK_PROT: '1' }
    for (const command of ['config', 'serve']) {
      const { status, stderr } = await mintmark([command], { env: bad })
      expect(status).toBe(2)
      for (const name of ['MINTMARK_PORT', 'MINTMARK_TLS_KEY', 'MINTMARK_PROT']) {
        expect(stderr).toContain(name)
      }
    }
    const asJson = await mintmark(['config', '--json'], { env: bad })
    expect(asJson.status).toBe(2)
    expect(asJson.json().problems).toHaveLength(3)
    expect(JSON.parse(asJson.stderr)).toMatchObject({ error: { code: 'invalid_config' } })
  })
})
