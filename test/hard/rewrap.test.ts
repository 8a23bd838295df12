import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { mintmark } from '../support/cli.ts'
import { startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const ENTRY = fileURLToPath(new URL('../../bin/mintmark.mjs', import.meta.url))
/** What makes something durable, or puts it into its place. */
const CALLS = 'fsync,fdatasync,rename'

/** Whether system calls can be tampered with here; not every machine has strace or lets it trace. */
const canTrace = spawnSync('strace', ['-f', '-qq', '-e', 'trace=none', 'true']).status === 0

test.runIf(canTrace)(
  'a change of the master key that dies anywhere leaves a pair that fits',
  async () => {
    const template = temporaryDirectory()
    const server = await startProcess({ dataDir: template })
    expect(await server.end('SIGTERM')).toMatchObject({ status: 0 })
    const old = readFileSync(join(template, 'master.key'), 'utf8')
    const kept = new Set<string>()
    for (let cut = 1; ; cut++) {
      const dataDir = temporaryDirectory()
      cpSync(template, dataDir, { recursive: true })
      const { status, signal } = spawnSync(
        'strace',
        [
          ...['-f', '-qq', '-o', '/dev/null', '-e', `trace=${CALLS}`],
          ...['-e', `inject=${CALLS}:error=EIO:signal=KILL:when=${cut}`],
          ...[process.execPath, ENTRY, 'keys', 'rewrap'],
        ],
        { env: { PATH: process.env.PATH, MINTMARK_DATA_DIR: dataDir } },
      )
      if (status === 0) break
      expect(signal, `cut ${cut} ended with status ${status}`).toBe('SIGKILL')
      const env = { MINTMARK_DATA_DIR: dataDir }
      const opened = await mintmark(['audit', 'verify'], { env })
      expect(opened, `cut ${cut}`).toMatchObject({ status: 0, stderr: '' })
      expect(existsSync(join(dataDir, 'master.key.new')), `cut ${cut}`).toBe(false)
      kept.add(readFileSync(join(dataDir, 'master.key'), 'utf8') === old ? 'old' : 'new')
    }
    // Some died before the commit and some after.
    expect([...kept].sort()).toEqual(['new', 'old'])
  },
)
