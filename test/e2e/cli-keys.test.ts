import { randomBytes } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCore } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { masterKeyOf, nextMasterKey } from '../../src/installation.ts'
import { COMPILE_CACHE, mintmark } from '../support/cli.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { rest } from '../support/rest.ts'

const adminToken = randomBytes(30).toString('base64url')
const adminEnv = { MINTMARK_BOOTSTRAP_TOKEN: adminToken, NODE_COMPILE_CACHE: COMPILE_CACHE }

/** What a server leaves behind, for each test to copy. */
const template = mkdtempSync(join(tmpdir(), 'mintmark-keys-'))
let server: ServerProcess
beforeAll(async () => {
  const first = await startProcess({ dataDir: template, env: adminEnv })
  expect(await first.end('SIGTERM')).toMatchObject({ status: 0 })
  server = await startProcess({ dataDir: usedDirectory(), env: adminEnv })
})
afterAll(async () => {
  await server.end('SIGTERM')
  rmSync(template, { recursive: true, force: true })
  for (const directory of used) rmSync(directory, { recursive: true, force: true })
})

const used: string[] = []
function usedDirectory(): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-keys-'))
  used.push(dataDir)
  cpSync(template, dataDir, { recursive: true })
  return dataDir
}

const keyFile = (dataDir: string) => readFileSync(join(dataDir, 'master.key'), 'utf8').trim()
const nextKeyFile = (dataDir: string) => join(dataDir, 'master.key.new')

/** The database opens with the settings given, and its trail is whole. */
async function opens(env: Record<string, string>): Promise<boolean> {
  const { status, stderr } = await mintmark(['audit', 'verify', '--json'], { env })
  if (status !== 0) expect(stderr).toContain('The master key does not fit')
  return status === 0
}

describe('keys', () => {
  const run = (line: string) =>
    mintmark(line.split(' '), { env: { MINTMARK_URL: server.url, MINTMARK_TOKEN: adminToken } })

  it('list shows what there is', async () => {
    const { stdout } = await run('keys list')
    expect(stdout.split('\n')[0]).toMatch(/^PURPOSE +ALGORITHM +STATE +CREATED +RETIRED +ID/)
    expect(stdout).toMatch(/^oauth +ES256 +current +20\d\d-/m)
    const { items } = (await run('keys list --json')).json()
    expect(items).toHaveLength(6)
  })

  it('rotate takes the keys of the OpenID provider unless told otherwise, and asks first', async () => {
    const unasked = await run('keys rotate')
    expect(unasked).toMatchObject({ status: 2, stdout: '' })
    expect(unasked.stderr).toContain('Say --yes')
    const { items } = (await run('keys rotate --yes --json')).json()
    expect(items.map((key: { state: string; purpose: string }) => key)).toMatchObject([
      { purpose: 'oauth', algorithm: 'RS256', state: 'current' },
      { purpose: 'oauth', algorithm: 'ES256', state: 'current' },
      { purpose: 'oauth', state: 'retired' },
      { purpose: 'oauth', state: 'retired' },
    ])
    const told = await run('keys rotate pepper --yes')
    expect(told).toMatchObject({ status: 0, stderr: '' })
    expect(told.stdout).toMatch(/^pepper +HMAC-SHA-256 +retired/m)
    expect(await run('keys rotate root --yes')).toMatchObject({ status: 2, stdout: '' })
    expect((await run('keys list')).status).toBe(0)
  })
})

describe('keys rewrap', () => {
  it('puts a new key file in the place of the old one', async () => {
    const dataDir = usedDirectory()
    const env = { MINTMARK_DATA_DIR: dataDir }
    const old = keyFile(dataDir)
    const { status, stdout, stderr } = await mintmark(['keys', 'rewrap'], { env })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain('Sealed 6 keys with a new master key.')
    const now = keyFile(dataDir)
    expect(now).not.toBe(old)
    expect(stdout).not.toContain(now)
    expect(statSync(join(dataDir, 'master.key')).mode & 0o777).toBe(0o600)
    expect(existsSync(nextKeyFile(dataDir))).toBe(false)
    expect(await opens(env)).toBe(true)
    expect(await opens({ ...env, MINTMARK_MASTER_KEY: old })).toBe(false)

    const again = await startProcess({ dataDir, env: adminEnv })
    const api = rest(again.url, adminToken)
    expect((await api.call('GET', '/tokens/self')).body.state).toBe('active')
    const { body } = await api.call('GET', '/audit?subjectId=master')
    expect(body.items).toMatchObject([{ action: 'key.rotated', via: 'system' }])
    const refused = await mintmark(['keys', 'rewrap'], { env })
    expect(refused).toMatchObject({ status: 1, stdout: '' })
    expect(refused.stderr).toContain('Stop it first')
    await again.end('SIGTERM')
    expect(keyFile(dataDir)).toBe(now)
  })

  it('changes to a given key, and says so when that was done before', async () => {
    const dataDir = usedDirectory()
    const file = join(dataDir, 'next')
    const next = randomBytes(32).toString('base64url')
    writeFileSync(file, `${next}\n`, { mode: 0o600 })
    const env = { MINTMARK_DATA_DIR: dataDir, MINTMARK_MASTER_KEY: keyFile(dataDir) }
    const refused = await mintmark(['keys', 'rewrap'], { env })
    expect(refused).toMatchObject({ status: 1, stdout: '' })
    expect(refused.stderr).toContain('MINTMARK_NEW_MASTER_KEY')
    expect(await opens(env)).toBe(true)

    const wish = { env: { ...env, MINTMARK_NEW_MASTER_KEY_FILE: file } }
    const args = ['keys', 'rewrap', '--json']
    expect((await mintmark(args, wish)).json()).toEqual({ keys: 6, keyFile: null })
    expect((await mintmark(args, wish)).json()).toEqual({ keys: 0, keyFile: null })
    expect(await opens(env)).toBe(false)
    expect(await opens({ ...env, MINTMARK_MASTER_KEY: next })).toBe(true)
  })

  it('with a wrong master key changes nothing', async () => {
    const dataDir = usedDirectory()
    const env = { MINTMARK_DATA_DIR: dataDir }
    const wrong = {
      ...env,
      MINTMARK_MASTER_KEY: 'w'.repeat(40),
      MINTMARK_NEW_MASTER_KEY: 'n'.repeat(40),
    }
    const { status, stderr } = await mintmark(['keys', 'rewrap'], { env: wrong })
    expect(status).toBe(1)
    expect(stderr).toContain('The master key does not fit')
    expect(await opens(env)).toBe(true)
  })
})

describe('keys rewrap that was cut short', () => {
  const configOf = (dataDir: string) =>
    readConfig({ env: { MINTMARK_DATA_DIR: dataDir }, readFile: () => '' })

  it('before anything was sealed leaves the old key, and the server starts', async () => {
    const dataDir = usedDirectory()
    const old = keyFile(dataDir)
    nextMasterKey(configOf(dataDir))
    expect(existsSync(nextKeyFile(dataDir))).toBe(true)
    const again = await startProcess({ dataDir, env: adminEnv })
    await again.end('SIGTERM')
    expect(keyFile(dataDir)).toBe(old)
    expect(existsSync(nextKeyFile(dataDir))).toBe(false)
  })

  it('after the commit leaves the new key, and the server starts', async () => {
    const dataDir = usedDirectory()
    const config = configOf(dataDir)
    const { core, store } = await openCore(config, { masterKey: masterKeyOf(config).key })
    const { key } = nextMasterKey(config)
    await core.rewrapKeys(key)
    await store.close()
    const again = await startProcess({ dataDir, env: adminEnv })
    const api = rest(again.url, adminToken)
    expect((await api.call('GET', '/tokens/self')).body.state).toBe('active')
    await again.end('SIGTERM')
    expect(keyFile(dataDir)).toBe(key.reveal())
    expect(existsSync(nextKeyFile(dataDir))).toBe(false)
  })

  it('while it wrote the new file leaves the old key', async () => {
    const dataDir = usedDirectory()
    const old = keyFile(dataDir)
    writeFileSync(nextKeyFile(dataDir), 'half', { mode: 0o600 })
    expect(await opens({ MINTMARK_DATA_DIR: dataDir })).toBe(true)
    expect(keyFile(dataDir)).toBe(old)
    expect(existsSync(nextKeyFile(dataDir))).toBe(false)
  })
})
