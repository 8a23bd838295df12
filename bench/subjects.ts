import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Fixture, PackagedPeer } from './scenarios.ts'

/** A server under measurement, in a process of its own. */
export interface Subject {
  name: string
  port: number
  /** Of what no lock file pins. */
  version?: string
  /** CPU time used so far in microseconds; undefined where the system does not tell. */
  cpuMicroseconds(): number | undefined
  /** The longest that its event loop was held up since it was last asked; absent: it does not tell. */
  longestStallMs?(): Promise<number>
  stop(): Promise<void>
}

export interface Mintmark extends Subject {
  fixture: Fixture
  /** An answer to a question about a live token: the bytes that the bare server echoes. */
  answer: string
}

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

/** A server's own watch starts anew whenever it is read; its clock ticks every 10 ms, idle or not. */
const WATCH_TICK_MS = 10

/** Linux counts in ticks of 10 ms, whatever the kernel's own clock. */
const MICROSECONDS_PER_TICK = 10_000

function cpuMicrosecondsOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command's name may hold spaces; the fields after it do not.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * MICROSECONDS_PER_TICK
  } catch {
    return undefined
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.on('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })
}

/** Waits for a status of 200, at most half a minute; throws when `child` ends before. */
export async function untilAnswers(child: ChildProcess, url: string): Promise<void> {
  for (let i = 0; i < 1500; i++) {
    if (child.exitCode !== null) break
    const status = await fetch(url).then(
      async (response) => {
        await response.body?.cancel()
        return response.status
      },
      () => 0,
    )
    if (status === 200) return
    await sleep(20)
  }
  throw new Error(`The server at ${url} did not start.`)
}

/** Whatever goes wrong here, no server is left behind. */
export function endsWithUs(child: ChildProcess): ChildProcess {
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return child
}

/** What every process under measurement has in common. */
export function subjectOf(
  name: string,
  { child, port }: { child: ChildProcess; port: number },
): Subject {
  return {
    name,
    port,
    cpuMicroseconds: () => cpuMicrosecondsOf(child.pid ?? 0),
    async stop() {
      if (child.exitCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** The bare server that answers `answer` to everything. */
export async function startBare(answer: string): Promise<Subject> {
  const port = await freePort()
  const child = fork(path('bare.ts'), [String(port), answer])
  await untilAnswers(endsWithUs(child), `http://127.0.0.1:${port}/`)
  return {
    ...subjectOf('bare', { child, port }),
    longestStallMs() {
      const nanoseconds = message<number>(child)
      child.send('stall')
      return nanoseconds.then((longest) => Math.max(0, longest / 1e6 - WATCH_TICK_MS))
    },
  }
}

export interface MintmarkOptions {
  /** Tokens to fill it with. */
  tokens: number
  /** Where to write a CPU profile of the whole run. */
  profileDir: string | undefined
  /** Fewer than there are tokens: each question goes to the database. */
  maxCachedTokens?: number
}

/** What a raw limit did in so many seconds. */
export interface RawResult {
  done: number
  seconds: number
}

/** A limit without HTTP: works for some seconds whenever it is asked to. */
export interface RawLimit extends Pick<Subject, 'cpuMicroseconds' | 'stop'> {
  run(seconds: number): Promise<RawResult>
}

export async function startRaw(kind: 'commits' | 'signatures'): Promise<RawLimit> {
  const child = endsWithUs(fork(path('raw.ts'), [kind]))
  await message(child)
  return {
    ...subjectOf(kind, { child, port: 0 }),
    async run(seconds) {
      const result = message<RawResult>(child)
      child.send({ seconds })
      return result
    },
  }
}

/** Another product, with the requests that it is asked. */
export interface Peer extends Subject {
  requests: string[]
}

/** Installs what it needs on first use. */
export async function startPeer(name: PackagedPeer): Promise<Peer> {
  if (!existsSync(path('node_modules'))) {
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: path('.'),
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  const child = fork(path(`peers/${name}.mjs`), { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const { port, requests } = await message<{ port: number; requests: string[] }>(endsWithUs(child))
  return { ...subjectOf(name, { child, port }), requests }
}

function message<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error('A process under measurement ended early.'))
    child.once('exit', onExit)
    child.once('message', (value) => {
      child.off('exit', onExit)
      // Only our own processes are listened to.
      resolve(value as T)
    })
  })
}

/** The process alone, over whatever `env` names. */
export interface Server extends Subject {
  url: string
  /** From its start until it was ready, in milliseconds. */
  startedInMs: number
  residentBytes(): number | undefined
}

/** Mintmark as shipped. Its log, one line per request, goes to the null device. */
export async function startServer(
  env: Record<string, string>,
  profileDir?: string,
): Promise<Server> {
  const port = await freePort()
  const profile = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`]
  const sinceMs = performance.now()
  const child = spawn(process.execPath, [...profile, path('../bin/mintmark.mjs'), 'serve'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { PATH: process.env.PATH, MINTMARK_PORT: String(port), ...env },
  })
  const url = `http://127.0.0.1:${port}`
  await untilAnswers(endsWithUs(child), `${url}/health/ready`)
  return {
    ...subjectOf('mintmark', { child, port }),
    url,
    startedInMs: performance.now() - sinceMs,
    residentBytes: () => residentBytesOf(child.pid ?? 0),
  }
}

function residentBytesOf(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
  } catch {
    return undefined
  }
}

/** A Mintmark with tokens in it. */
export async function startMintmark(options: MintmarkOptions): Promise<Mintmark> {
  const { tokens, profileDir, maxCachedTokens = 100_000 } = options
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-bench-'))
  const token = `bench-${randomBytes(30).toString('base64url')}`
  const server = await startServer(
    {
      MINTMARK_DATA_DIR: dataDir,
      MINTMARK_BOOTSTRAP_TOKEN: token,
      MINTMARK_MAX_CACHED_TOKENS: String(maxCachedTokens),
    },
    profileDir,
  )
  const { url } = server
  const secrets = await makeTokens(url, { token, count: tokens })
  const verified = await call(`${url}/api/v1/tokens/verify`, { token, body: { token: secrets[0] } })
  return {
    ...server,
    longestStallMs: () => longestStallMs(url, token),
    fixture: {
      token,
      secrets,
      service: await makeService(url, token),
      client: await makeClient(url, token),
    },
    answer: verified,
    async stop() {
      await server.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** Posts `body`; returns the answer's text. Throws unless it is a success. */
export async function call(url: string, { token, body }: { token: string; body: object }) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`)
  return text
}

/** The longest that a Mintmark's event loop was held up since it was last asked. */
export async function longestStallMs(url: string, token: string): Promise<number> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } })
  const seconds = /^mintmark_nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(await response.text())
  return Math.max(0, Number(seconds?.[1]) * 1000 - WATCH_TICK_MS)
}

const ACCESS_TOKENS = 100

/** An OAuth client with access tokens of its own. */
async function makeClient(url: string, token: string): Promise<Fixture['client']> {
  const body = { name: 'bench', grants: ['client_credentials'] }
  const { clientId: id, secret } = JSON.parse(await call(`${url}/api/v1/clients`, { token, body }))
  const accessTokens: string[] = []
  for (let i = 0; i < ACCESS_TOKENS; i++) {
    const response = await fetch(`${url}/oauth2/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`The token endpoint answered ${response.status}: ${text}`)
    accessTokens.push(JSON.parse(text).access_token)
  }
  return { id, secret, accessTokens }
}

/** A refresh token of S7. */
async function makeService(url: string, token: string): Promise<string> {
  const body = { tokenName: 'service', groups: [] }
  const made = await call(`${url}/api/auth/v1/admin/refreshTokens`, { token, body })
  return JSON.parse(made).refreshToken.token
}

async function makeTokens(
  url: string,
  { token, count }: { token: string; count: number },
): Promise<string[]> {
  const secrets: string[] = []
  let next = 0
  const make = async () => {
    while (next < count) {
      const body = { name: `service ${++next}`, roles: null, groups: null, scopes: null }
      secrets.push(JSON.parse(await call(`${url}/api/v1/tokens`, { token, body })).secret)
    }
  }
  await Promise.all(Array.from({ length: 16 }, make))
  return secrets
}
