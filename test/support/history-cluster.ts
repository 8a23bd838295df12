import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { postgresDatabase } from './database.ts'
import type { Dice } from './dice.ts'
import { type PostgresServer, startPostgres } from './postgres-server.ts'
import { type ServerProcess, startProcess } from './process.ts'
import { openWire, type Wire } from './wire.ts'

export const LEASE_SECONDS = 2
/** Longer than a silent node is waited for, so that revocations end acknowledged by the others. */
const REVOKE_WAIT_SECONDS = 3
/** Between the fastest and the slowest clock of stepped-clock.ts. */
export const SKEW_MS = 6000

const preload = (file: URL) => `--import=${fileURLToPath(file)}`
const CLOCK = preload(new URL('./stepped-clock.ts', import.meta.url))
const DEAF = preload(new URL('./deaf.ts', import.meta.url))

/** What may happen to a node, or to the database. */
export const FAULTS = ['kill', 'stop', 'cut', 'swallow', 'slow', 'step', 'terminate'] as const
export type Fault = (typeof FAULTS)[number]

export interface ClusterNode {
  /** Of the process that runs now; undefined: none does. */
  url: string | undefined
  strike(fault: Fault, dice: Dice): Promise<void>
}

/** Three servers on a PostgreSQL of their own, each behind a wire of its own. */
export interface Cluster {
  token: string
  nodes: readonly ClusterNode[]
  postgres: PostgresServer
  /** Kills everything, the database too, and starts it again with steady clocks and whole wires. */
  restart(): Promise<void>
  close(): Promise<void>
}

/** `deaf`: the last node breaks its promise on purpose. */
export async function startCluster({ deaf }: { deaf: boolean }): Promise<Cluster> {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-history-'))
  const postgres = await startPostgres()
  const database = postgresDatabase(postgres.url)
  const token = 'a-token-of-the-first-admin-for-tests'
  const env = {
    MINTMARK_MASTER_KEY: 'a-master-key-for-all-the-nodes-of-the-test',
    MINTMARK_BOOTSTRAP_TOKEN: token,
    MINTMARK_NODE_LEASE: String(LEASE_SECONDS),
    MINTMARK_REVOKE_WAIT: String(REVOKE_WAIT_SECONDS),
  }

  async function makeNode(index: number) {
    const wire: Wire = await openWire(postgres.url)
    const options = index === 2 && deaf ? `${CLOCK} ${DEAF}` : CLOCK
    let server: ServerProcess | undefined

    async function start(): Promise<void> {
      server = await startProcess({
        dataDir: join(dir, `node-${index}`),
        env: { ...env, MINTMARK_DATABASE_URL: wire.url, NODE_OPTIONS: options },
      })
      node.url = server.url
    }

    async function startAtLast(): Promise<void> {
      // What it needs may be away just now.
      while (
        !(await start().then(
          () => true,
          () => false,
        ))
      )
        await sleep(200)
    }

    async function kill(): Promise<void> {
      node.url = undefined
      await server?.end('SIGKILL')
      server = undefined
    }

    const node = {
      url: undefined as string | undefined,
      wire,
      start,
      kill,
      async strike(fault: Fault, dice: Dice) {
        const shortMs = 100 + dice.number(1500)
        const longMs = LEASE_SECONDS * 1000 + 300 + dice.number(2000)
        const ms = dice.chance(0.5) ? shortMs : longMs
        if (fault === 'step') server?.signal('SIGUSR2')
        if (fault === 'terminate') await terminateConnections(database)
        if (fault === 'kill') {
          await kill()
          await sleep(shortMs)
          await startAtLast()
        }
        if (fault === 'stop') {
          server?.signal('SIGSTOP')
          await sleep(ms)
          server?.signal('SIGCONT')
        }
        if (fault === 'cut' || fault === 'swallow' || fault === 'slow') {
          if (fault === 'slow') wire.slow(20 + dice.number(300))
          else wire[fault]()
          await sleep(ms)
          wire.heal()
        }
      },
    }
    return node
  }

  const nodes: Awaited<ReturnType<typeof makeNode>>[] = []
  for (let i = 0; i < 3; i++) nodes.push(await makeNode(i))
  await Promise.all(nodes.map(({ start }) => start()))
  return {
    token,
    nodes,
    postgres,
    async restart() {
      await Promise.all(nodes.map(({ kill }) => kill()))
      await postgres.end('SIGKILL')
      await postgres.start()
      for (const { wire } of nodes) wire.heal()
      await Promise.all(nodes.map(({ start }) => start()))
    },
    async close() {
      await Promise.all(nodes.map(({ kill }) => kill()))
      await Promise.all(nodes.map(({ wire }) => wire.close()))
      await database.drop()
      await postgres.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Those of all nodes, in the middle of whatever they are doing. */
async function terminateConnections(database: ReturnType<typeof postgresDatabase>): Promise<void> {
  const kill = `select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`
  await database.query(kill).catch(() => undefined)
}
