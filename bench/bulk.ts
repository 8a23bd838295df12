import { setTimeout as sleep } from 'node:timers/promises'
import type { Loader } from './loader.ts'
import { verify } from './scenarios.ts'
import { call, longestStallMs, type Server } from './subjects.ts'

/** What it costs to revoke very many tokens by a query, and what others notice of it. */
export interface BulkResult {
  revoked: number
  secondsPerThousand: number
  /** Of the server, for each revoked token, without what the questions cost; undefined where the system does not tell. */
  cpuMicroseconds: number | undefined
  longestStallMs: number
  verifiesPerSecond: number
  /** Of a warm verify meanwhile, and at the same rate with nothing else to do. */
  verifyP99Ms: number
  aloneP99Ms: number
}

const VERIFIES_PER_SECOND = 1000
const CONNECTIONS = 32
const ALONE_SECONDS = 3
const POLL_MS = 100

interface Job {
  id: string
  state: string
  changed: number
  createdAt: string
  finishedAt: string | null
}

/** Revokes what `query` selects, while `secrets` are verified. Throws unless the job is done and changed `count` tokens. */
export async function measureBulk(
  server: Server,
  about: { loader: Loader; token: string; secrets: string[]; query: string; count: number },
): Promise<BulkResult> {
  const { loader, token, secrets, query, count } = about
  const { url, port } = server
  const questions = secrets.map((secret) => verify(token, secret))
  const work = { port, requests: questions, connections: CONNECTIONS }
  const forever = Number.MAX_SAFE_INTEGER
  await loader.run({ ...work, seconds: forever, once: true })

  const pace = { ...work, perSecond: VERIFIES_PER_SECOND }
  const whileAlone = cpuClock(server)
  const alone = await loader.run({ ...pace, seconds: ALONE_SECONDS })
  const perQuestion = (whileAlone() ?? 0) / alone.answered

  await longestStallMs(url, token)
  const whileBulk = cpuClock(server)
  const asked = loader.run({ ...pace, seconds: forever })
  const job = await done(url, { token, job: await start(url, { token, query }) })
  loader.finish()
  const meanwhile = await asked
  const all = whileBulk()
  const questioning = meanwhile.answered * perQuestion
  const stallMs = await longestStallMs(url, token)
  for (const { statuses, answered } of [alone, meanwhile]) {
    if (statuses[200] !== answered) throw new Error(`verify: ${JSON.stringify(statuses)}`)
  }
  if (job.state !== 'done' || job.changed !== count) {
    throw new Error(`The bulk action ended as ${JSON.stringify(job)}.`)
  }
  const tookMs = Date.parse(job.finishedAt ?? '') - Date.parse(job.createdAt)
  return {
    revoked: job.changed,
    secondsPerThousand: tookMs / job.changed,
    cpuMicroseconds: all === undefined ? undefined : (all - questioning) / job.changed,
    longestStallMs: stallMs,
    verifiesPerSecond: VERIFIES_PER_SECOND,
    verifyP99Ms: meanwhile.p99Ms,
    aloneP99Ms: alone.p99Ms,
  }
}

/** Tells the microseconds that the server used since; undefined where the system does not tell. */
function cpuClock(server: Server): () => number | undefined {
  const before = server.cpuMicroseconds()
  return () => {
    const after = server.cpuMicroseconds()
    return before === undefined || after === undefined ? undefined : after - before
  }
}

async function start(url: string, { token, query }: { token: string; query: string }) {
  const body = { action: 'revoke', q: query, reason: 'bench' }
  return JSON.parse(await call(`${url}/api/v1/tokens:bulk`, { token, body })) as Job
}

/** The job, once it is over. */
async function done(url: string, { token, job }: { token: string; job: Job }): Promise<Job> {
  const headers = { authorization: `Bearer ${token}` }
  for (let now = job; ; ) {
    if (now.finishedAt !== null) return now
    await sleep(POLL_MS)
    const response = await fetch(`${url}/api/v1/jobs/${job.id}`, { headers })
    if (!response.ok) throw new Error(`The job could not be read: ${response.status}`)
    now = (await response.json()) as Job
  }
}
