import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { freePort } from './free-port.ts'

/** Debian's package `pgbouncer` has it; without one there is nothing to try. */
const PGBOUNCER = process.env.MINTMARK_TEST_PGBOUNCER ?? 'pgbouncer'

export const hasPooler = spawnSync(PGBOUNCER, ['--version']).status === 0

/** Nobody: the pooler does not run as root. */
const NOBODY = 65_534

export interface Pooler {
  /** The same database through the pooler. */
  through(url: string): string
  close(): Promise<void>
}

/**
 * PgBouncer in transaction mode before the server of `url`, with so few connections of its own that each
 * transaction may get another one.
 */
export async function startPooler(
  url: string,
  { connections }: { connections: number },
): Promise<Pooler> {
  const { hostname, port, username, password } = new URL(url)
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-pooler-'))
  const listenPort = await freePort()
  const file = (name: string) => join(dir, name)
  writeFileSync(file('users.txt'), `"${username}" "${password}"\n`, { mode: 0o644 })
  writeFileSync(
    file('pgbouncer.ini'),
    `[databases]
* = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = plain
auth_file = ${file('users.txt')}
pool_mode = transaction
default_pool_size = ${connections}
max_client_conn = 500
`,
    { mode: 0o644 },
  )
  const isRoot = process.getuid?.() === 0
  if (isRoot) chmodSync(dir, 0o755)
  const child = spawn(PGBOUNCER, [file('pgbouncer.ini')], {
    stdio: 'ignore',
    ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  })
  const through = (direct: string) => {
    const pooled = new URL(direct)
    pooled.host = `127.0.0.1:${listenPort}`
    return pooled.href
  }
  await untilOpen(through(url), child)
  return {
    through,
    async close() {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await gone
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function untilOpen(url: string, child: ChildProcess): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const client = new Client({ connectionString: url })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if (attempt > 100 || child.exitCode !== null) throw error
      await sleep(50)
    }
  }
}
