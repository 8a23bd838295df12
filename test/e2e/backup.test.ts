import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { COMPILE_CACHE, mintmark } from '../support/cli.ts'
import { startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary.ts'

// A dozen processes, one after the other.
vi.setConfig({ testTimeout: 300_000 })

it('imports, backs up a running server, loses it, and restores it without reviving anything', async () => {
  const dataDir = temporaryDirectory()
  const bootstrap = randomBytes(32).toString('base64url')
  const env = { MINTMARK_DATA_DIR: dataDir }
  const settings = { MINTMARK_BOOTSTRAP_TOKEN: bootstrap, NODE_COMPILE_CACHE: COMPILE_CACHE }
  const first = await startProcess({ dataDir, env: settings })
  const online = { MINTMARK_URL: first.url, MINTMARK_TOKEN: bootstrap }
  const on = (args: string[], input = '') => mintmark(args, { env: online, input })

  const [kept, lost] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')]
  const csv = join(dataDir, 'tokens.csv')
  const report = join(dataDir, 'report.csv')
  writeFileSync(
    csv,
    `label,user,secret,groups\n"kept, one",robot,${kept},ops:WRITE\nlost,robot,${lost},\n,robot,x,\n`,
  )
  const importing = ['import', csv, '--map', 'name=label,owner=user', '--report', report, '--json']
  const making = ['--create-owners', 'service', '--create-groups']
  const dry = await on([...importing, ...making, '--dry-run'])
  expect(dry.json(), dry.stderr).toMatchObject({ dryRun: true, created: 2, refused: 1, rows: 3 })
  const done = await on([...importing, ...making])
  expect(done.status).toBe(1)
  expect(done.json()).toMatchObject({ created: 2, exists: 0, refusals: [{ row: 3 }] })
  expect(readFileSync(report, 'utf8').split('\n')[3]).toContain('"refused"')
  expect((await on([...importing])).json()).toMatchObject({ created: 0, exists: 2 })
  const verify = (secret: string) => on(['token', 'verify', '--json'], secret)
  expect((await verify(kept)).json()).toMatchObject({ active: true })

  const backup = join(dataDir, 'one.backup')
  const made = await mintmark(['backup', backup, '--json'], { env })
  expect(made.stderr).toBe('')
  expect(made.json()).toMatchObject({ file: backup, database: 'sqlite' })
  expect((await mintmark(['backup', '--check', backup], { env })).stdout).toContain('whole')

  const { items } = (await on(['token', 'list', 'name:lost', '--json'])).json()
  expect((await on(['token', 'revoke', items[0].id])).status).toBe(0)
  expect((await first.end('SIGTERM')).status).toBe(0)
  expect(existsSync(join(dataDir, 'revocations.log'))).toBe(true)

  const refused = await mintmark(['restore', backup], { env })
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('exists') })
  renameSync(join(dataDir, 'mintmark.db'), join(dataDir, 'lost.db'))
  renameSync(join(dataDir, 'revocations.log'), join(dataDir, 'kept.log'))
  const asked = await mintmark(['restore', backup], { env })
  expect(asked).toMatchObject({ status: 2, stderr: expect.stringContaining('--revoke-all') })
  const journal = join(dataDir, 'kept.log')
  const restored = await mintmark(['restore', backup, '--revocations', journal, '--json'], { env })
  expect(restored.stderr).toBe('')
  expect(restored.json()).toMatchObject({ ended: { tokens: 1 } })
  expect((await mintmark(['audit', 'verify'], { env })).status).toBe(0)

  const second = await startProcess({ dataDir, env: settings })
  online.MINTMARK_URL = second.url
  expect((await verify(kept)).json()).toMatchObject({ active: true })
  expect((await verify(lost)).json()).toMatchObject({ active: false })
  expect((await second.end('SIGTERM')).status).toBe(0)

  const elsewhere = join(dataDir, 'elsewhere', 'mintmark.db')
  const urls = ['--from', `sqlite:${dataDir}/mintmark.db`, '--to', `sqlite:${elsewhere}`]
  const moved = await mintmark(['move', ...urls], { env })
  expect(moved).toMatchObject({ status: 0, stdout: expect.stringContaining('verified') })
})
