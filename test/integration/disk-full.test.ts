import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { inspectFiles } from '../support/inspect.ts'
import { startProcess } from '../support/process.ts'
import { type Rest, rest } from '../support/rest.ts'
import { smallDisks } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const adminToken = `boot-${randomBytes(30).toString('base64url')}`

interface Made {
  id: string
  name: string
  secret: string
}

/** Creates tokens until that fails for want of room. Returns those acknowledged and the refusal. */
async function createUntilRefused(api: Rest, prefix: string) {
  const made: Made[] = []
  for (let i = 0; i < 5000; i++) {
    const { status, body } = await api.call('POST', '/tokens', {
      body: { name: `${prefix} ${i}`, metadata: { weight: 'x'.repeat(2000) } },
      accept: 503,
    })
    if (status === 503) return { made, refusal: body }
    made.push(body)
  }
  throw new Error('The disk does not get full.')
}

async function expectAll(api: Rest, made: Made[]): Promise<void> {
  const names = (await api.all('/tokens')).map(({ name }) => name)
  expect(names.toSorted()).toEqual(['bootstrap', ...made.map(({ name }) => name)].toSorted())
  for (const { secret } of made.slice(-20)) expect(await api.isActive(secret)).toBe(true)
}

const disks = smallDisks()

test.runIf(process.platform === 'linux')('there is a way to fill a disk here', () => {
  expect(disks.length).toBeGreaterThan(0)
})

test.each(disks)(
  '%s: writes are refused, reads go on, nothing is lost',
  { timeout: 60_000 },
  async (_, makeDisk) => {
    const directory = temporaryDirectory()
    const disk = makeDisk(directory)
    onTestFinished(disk.remove)
    const server = await startProcess({
      dataDir: disk.dataDir,
      env: { MINTMARK_BOOTSTRAP_TOKEN: adminToken, MINTMARK_LOG_LEVEL: 'fatal' },
      wrapper: disk.wrapper,
    })
    onTestFinished(async () => {
      await server.end('SIGKILL')
    })
    const api = rest(server.url, adminToken)
    const { body: first } = await api.call('POST', '/tokens', { body: { name: 'first' } })
    const made: Made[] = [first]

    for (const prefix of ['once', 'again']) {
      disk.fill(server.pid)
      const full = await createUntilRefused(api, prefix)
      made.push(...full.made)
      expect(full.refusal).toMatchObject({ status: 503, code: 'unavailable' })
      expect(full.refusal.detail).toMatch(/Nothing was changed\. Try again shortly\.$/)
      const revoke = await api.call('POST', `/tokens/${first.id}/revoke`, { accept: 503 })
      expect(revoke.status).toBe(503)
      await expectAll(api, made)
      await sleep(50)

      disk.free(server.pid)
      const { body } = await api.call('POST', '/tokens', { body: { name: `${prefix} with room` } })
      made.push(body)
      await expectAll(api, made)
    }

    await api.call('POST', `/tokens/${first.id}/revoke`)
    expect(await api.isActive(first.secret)).toBe(false)
    expect(await inspectFiles(disk.dataDir)).toEqual([])
    expect((await server.end('SIGTERM')).status).toBe(0)
  },
)
