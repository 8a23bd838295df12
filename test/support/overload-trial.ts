import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { requestText, startGenerator } from './generator.ts'
import { type LoadJob, type LoadKind, type LoadResult, NUMBER } from './load-job.ts'
import { type ServerProcess, startProcess } from './process.ts'
import { type Rest, rest } from './rest.ts'

const DEADLINE_MS = 1000
/** Far more than the server needs at once, so that what it leaves undone piles up before it. */
const CONNECTIONS = 1000
const TOKENS = 2000
/** Between two phases, so that none begins in the ruins of the last one. */
const REST_MS = 2000
const WATCH_MS = 100
const REVOCATIONS_PER_SECOND = 1000 / WATCH_MS
const RECOVERY_LOOK_MS = 100
/** So many good rounds in a row count as recovered. */
const GOOD_ROUNDS = 5

/** What the trial saw while a rate was offered. */
export interface Phase {
  name: string
  offered: number
  /** Good answers a second. */
  goodput: number
  load: LoadResult
  /** How long the operator waited for each of these, and how often it was not answered 2xx. */
  vital: Record<string, { count: number; p99Ms: number; maxMs: number; failed: number }>
  rssMiB: number
}

export interface OverloadTrial {
  saturation: number
  phases: Phase[]
  /** From the end of the worst load until everything is answered again. */
  recoveryMs: number
}

/**
 * Finds out what a server in a process of its own can do with a mix of requests, then offers it `factors` times
 * as much, while somebody revokes tokens, probes it and reads its figures.
 */
export async function tryOverload({
  dataDir,
  factors,
  seconds,
  env = {},
  tell,
}: {
  dataDir: string
  factors: number[]
  /** Of each phase. */
  seconds: number
  env?: Record<string, string>
  tell: (line: string) => void
}): Promise<OverloadTrial> {
  const adminToken = `boot-${randomBytes(30).toString('base64url')}`
  const password = `${randomBytes(12).toString('base64url')} bench lamp`
  const server = await startProcess({
    dataDir,
    env: {
      MINTMARK_BOOTSTRAP_TOKEN: adminToken,
      MINTMARK_BOOTSTRAP_PASSWORD: password,
      MINTMARK_LOGIN_RATE_LIMIT: '1000000',
      MINTMARK_LOG_LEVEL: 'warn',
      ...env,
    },
  })
  const generator = startGenerator()
  try {
    const api = rest(server.url, adminToken)
    const kinds = await mixOf(api, { adminToken, password })
    const { port, protocol } = new URL(server.url)
    const load = (job: Pick<LoadJob, 'rate' | 'seconds' | 'connections'>) =>
      generator.run({
        port: Number(port),
        secure: protocol === 'https:',
        kinds,
        deadlineMs: DEADLINE_MS,
        ...job,
      })
    // Warm first: what is compiled by the way is none of the saturation.
    await load({ seconds: Math.min(seconds, 5), connections: 32 })
    const closed = await load({ seconds: Math.min(seconds, 10), connections: 32 })
    const saturation = goodIn(closed) / closed.seconds
    tell(
      `saturation: ${JSON.stringify(rounded(saturation))} good answers a second; ${brief(closed)}`,
    )
    const phases: Phase[] = []
    for (const factor of factors) {
      await sleep(REST_MS)
      const rate = saturation * factor
      const watch = await watchVital({ api, server, seconds })
      const result = await load({ seconds, rate, connections: CONNECTIONS })
      const { vital, rssMiB } = await watch.stop()
      const goodput = goodIn(result) / result.seconds
      const phase = { name: `${factor}x`, offered: rate, goodput, load: result, vital, rssMiB }
      phases.push(phase)
      tell(
        `${factor}x: ${rounded(rate)}/s offered, ${rounded(goodput)}/s good, RSS ${rssMiB} MiB; ${brief(result)}; ${JSON.stringify(vital)}`,
      )
    }
    const recoveryMs = await recovery(server, kinds)
    tell(`recovered after ${rounded(recoveryMs)} ms`)
    return { saturation, phases, recoveryMs }
  } finally {
    generator.end()
    const { output } = await server.end('SIGKILL')
    for (const line of output.split('\n').filter((line) => line.startsWith('{'))) tell(line)
  }
}

/** Few at a time: nothing is to be refused yet. */
async function makeTokens(api: Rest, count: number): Promise<{ id: string; secret: string }[]> {
  const run = randomBytes(4).toString('hex')
  const made: { id: string; secret: string }[] = []
  while (made.length < count) {
    const names = Array.from({ length: 10 }, (_, i) => `${run} ${made.length + i}`)
    const batch = names.map((name) => api.call('POST', '/tokens', { body: { name } }))
    made.push(...(await Promise.all(batch)).map(({ body }) => body))
  }
  return made
}

/** Mostly verdicts, as in life; the rest is what is dear. */
async function mixOf(
  api: Rest,
  { adminToken, password }: { adminToken: string; password: string },
): Promise<LoadKind[]> {
  const tokens = await makeTokens(api, TOKENS)
  const post = (path: string, body: object) =>
    requestText({ method: 'POST', path, token: adminToken, body })
  const get = (path: string) => requestText({ method: 'GET', path, token: adminToken })
  const run = randomBytes(3).toString('hex')
  return [
    {
      name: 'verify',
      share: 74,
      requests: tokens.map(({ secret }) => post('/api/v1/tokens/verify', { token: secret })),
    },
    { name: 'create', share: 12, requests: [post('/api/v1/tokens', { name: `${run} ${NUMBER}` })] },
    {
      name: 'list',
      share: 12,
      requests: [get('/api/v1/tokens?limit=100'), get('/api/v1/audit?limit=100')],
    },
    {
      name: 'login',
      share: 2,
      requests: [post('/api/v1/login', { username: 'admin', password })],
    },
  ]
}

const goodIn = ({ kinds }: LoadResult) =>
  Object.values(kinds).reduce((sum, { good }) => sum + good, 0)

const rounded = (value: number) => Math.round(value)

function brief({ sent, unsent, lateness, kinds }: LoadResult): string {
  return JSON.stringify({ sent, unsent, lateness, ...kinds })
}

interface Watch {
  stop(): Promise<Pick<Phase, 'vital' | 'rssMiB'>>
}

/** Somebody who keeps revoking, probing and reading figures while others flood the server. */
async function watchVital({
  api,
  server,
  seconds,
}: {
  api: Rest
  server: ServerProcess
  seconds: number
}): Promise<Watch> {
  const ids = (await makeTokens(api, seconds * REVOCATIONS_PER_SECOND)).map(({ id }) => id)
  const waits = new Map<string, { ms: number[]; failed: number }>()
  let running = true
  let rssMiB = 0

  async function timed(name: string, ask: () => Promise<boolean>): Promise<void> {
    const beganMs = performance.now()
    const isGood = await ask().catch(() => false)
    const of = waits.get(name) ?? { ms: [], failed: 0 }
    waits.set(name, of)
    of.ms.push(performance.now() - beganMs)
    if (!isGood) of.failed++
  }
  const get = (path: string) => async () => {
    const response = await fetch(`${server.url}${path}`)
    await response.arrayBuffer()
    return response.ok
  }
  const keep = async (work: () => Promise<void>) => {
    while (running) {
      await work()
      await sleep(WATCH_MS)
    }
  }
  const all = [
    keep(async () => {
      const id = ids.pop()
      if (id === undefined) return
      await timed('revoke', async () => {
        const { status } = await api.call('POST', `/tokens/${id}/revoke`, { body: {} })
        return status === 200
      })
    }),
    keep(() => timed('live', get('/health/live'))),
    keep(() => timed('ready', get('/health/ready'))),
    keep(() => timed('metrics', get('/metrics'))),
    keep(async () => {
      rssMiB = Math.max(rssMiB, residentMiB(server.pid))
    }),
  ]
  return {
    async stop() {
      running = false
      await Promise.all(all)
      const vital = [...waits].map(([name, { ms, failed }]) => {
        const sorted = ms.toSorted((a, b) => a - b)
        const p99Ms = rounded(sorted[Math.floor(sorted.length * 0.99)] ?? 0)
        return [name, { count: ms.length, p99Ms, maxMs: rounded(sorted.at(-1) ?? 0), failed }]
      })
      return { vital: Object.fromEntries(vital), rssMiB }
    },
  }
}

/** What the process holds, or the largest of its children. */
function residentMiB(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  const pids = [pid, ...children.split(' ').filter((child) => child !== '')]
  const sizes = pids.map((each) => {
    const status = readFileSync(`/proc/${each}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1])
  })
  return Math.round(Math.max(...sizes) / 1024)
}

/** Until one of each kind is answered in time, several times in a row. */
async function recovery(server: ServerProcess, kinds: LoadKind[]): Promise<number> {
  const beganMs = performance.now()
  let goodSinceMs = beganMs
  for (let good = 0; good < GOOD_ROUNDS; ) {
    const roundMs = performance.now()
    if (roundMs - beganMs > 60_000) return Number.POSITIVE_INFINITY
    const answers = await Promise.all(kinds.map(({ requests }) => asked(server, requests[0] ?? '')))
    const isGood = answers.every((is) => is) && performance.now() - roundMs < DEADLINE_MS
    if (isGood && good === 0) goodSinceMs = performance.now()
    good = isGood ? good + 1 : 0
    await sleep(RECOVERY_LOOK_MS)
  }
  return goodSinceMs - beganMs
}

/** Whether the request, as it is written out, is answered rather than refused for load. */
async function asked(server: ServerProcess, text: string): Promise<boolean> {
  const [head = '', body = ''] = text
    .replaceAll(NUMBER, randomBytes(4).toString('hex'))
    .split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const [method = '', path = ''] = first.split(' ')
  const headers = lines
    .map((line) => line.split(': ') as [string, string])
    .filter(([name]) => name !== 'host' && name !== 'content-length')
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers,
    ...(body === '' ? {} : { body }),
  })
  await response.arrayBuffer()
  return response.status !== 503 && response.status !== 429
}
