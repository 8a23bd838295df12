import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openBrowser } from './browser.ts'
import { freePort } from './free-port.ts'
import { goThrough, lastingRequest, PASSWORD, REDIRECT_URI } from './oauth.ts'
import { type Ended, type ServerProcess, startProcess } from './process.ts'
import { startReceiver, TO_LOOPBACK } from './receiver.ts'
import { type Rest, rest } from './rest.ts'

const HOURS = fileURLToPath(new URL('./short-hours.ts', import.meta.url))
const RATE = 200
const TICK_MS = 20
const SAMPLE_MS = 10_000
const COLLECT_MS = 1000
const DEADLINE_MS = 10_000
const CONNECTIONS = 40
/** Who comes while so many are waiting gives up: this is no trial of overload. */
const MAX_UNDER_WAY = 200
const LASTING_TOKENS = 300
const CLIENTS = 3
/** How long tokens live, and how long they are kept thereafter. */
const LIFE_MS = [10_000, 40_000] as const
const RETENTION_SECONDS = 20
const OVERLAP_SECONDS = 5
/** So many of those made last are rotated, revoked and verified. */
const RECENT = 200
const HALF_MS = 15_000

/** What was seen at the end of each few seconds. */
export interface SoakSample {
  atMs: number
  /** Since the beginning. */
  requests: number
  /** Of verify since the last sample. */
  p50Ms: number
  p99Ms: number
  /** What is left in the heap and beside it when all garbage is collected. */
  heapBytes: number
  externalBytes: number
  residentBytes: number
  descriptors: number
  /** What keeps an event loop going, timers included. */
  resources: number
  /** Since the last sample. */
  stallMs: number
  cpuMsPerRequest: number
  /** Of the time since the last sample, how much the server was ready to run and another process did. */
  robbed: number
  databaseBytes: number
  /** Not yet in the database file. */
  walBytes: number
}

export interface SoakTrial {
  samples: SoakSample[]
  /** How often each act was answered how; 0: not at all. */
  statuses: Record<string, Record<string, number>>
  /** What no client may see, in words; the first few. */
  wrong: string[]
  deliveries: number
  /** Not sent, because too many were under way. */
  givenUp: number
  purged: number
  /** Tokens whose retention was over for longer than purging takes, when the trial ended. */
  overdue: number
  ended: Ended
}

interface Answer {
  status: number
  retryAfter: string | undefined
  text: string
}

interface Act {
  name: string
  share: number
  run(): Promise<void>
}

interface Refreshing {
  pair: string
  refresh: string
  access: string
  isBusy: boolean
}

/**
 * Lets a server in a process of its own live through a mix of everything, also of what goes wrong, at a
 * rate at which it has time to breathe, and looks every few seconds at what it holds.
 */
export async function soak({
  dataDir,
  minutes,
  env = {},
  count,
  tell,
}: {
  dataDir: string
  minutes: number
  env?: Record<string, string>
  /** Tokens in the database that ended before this time. */
  count: (endedBeforeMs: number) => Promise<number>
  tell: (line: string) => void
}): Promise<SoakTrial> {
  const adminToken = `boot-${randomBytes(30).toString('base64url')}`
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const receiver = await startReceiver()
  const server = await startProcess({
    dataDir,
    env: {
      ...TO_LOOPBACK,
      MINTMARK_PORT: String(port),
      MINTMARK_PUBLIC_URL: issuer,
      MINTMARK_BOOTSTRAP_TOKEN: adminToken,
      MINTMARK_LOGIN_RATE_LIMIT: '1000000',
      // Full long before the figures count.
      MINTMARK_MAX_CACHED_TOKENS: '500',
      NODE_OPTIONS: `--import=${HOURS}`,
      ...env,
    },
  })
  try {
    const api = rest(issuer, adminToken)
    receiver.answerWith(500)
    await api.call('PATCH', '/policy', { body: { retentionSeconds: RETENTION_SECONDS } })
    await api.call('POST', '/webhooks', { body: { url: receiver.url } })
    const crowd = await gather({ api, issuer, adminToken })
    let deliveries = 0
    const sample = await sampler({ server, dataDir, crowd })
    const endMs = performance.now() + minutes * 60_000
    const load = offer(crowd, endMs)
    const samples: SoakSample[] = []
    while (performance.now() + SAMPLE_MS < endMs) {
      await sleep(SAMPLE_MS)
      deliveries += receiver.received.splice(0).length
      // Mostly it fails; now and then it takes in what has been waiting.
      receiver.answerWith(samples.length % 6 === 5 ? 204 : 500)
      const seen = await sample()
      samples.push(seen)
      tell(JSON.stringify(seen))
    }
    await load
    const lateMs = RETENTION_SECONDS * 1000 + 2 * 30_000
    const overdue = await count(Date.now() - lateMs)
    const purged = await purgedSoFar(api)
    const ended = await endOf(server)
    const { statuses, wrong, givenUp } = crowd
    return { samples, statuses, wrong, givenUp, deliveries, purged, overdue, ended }
  } finally {
    await server.end('SIGKILL')
    await receiver.close()
  }
}

async function endOf(server: ServerProcess): Promise<Ended> {
  const ended = await Promise.race([server.end('SIGTERM'), sleep(30_000)])
  return ended ?? { ...(await server.end('SIGKILL')), status: null }
}

async function purgedSoFar(api: Rest): Promise<number> {
  const { body } = await api.call('GET', '/audit?action=token.purged&limit=1000')
  const counts: number[] = body.items.map((event: { after?: { count?: number } }) =>
    Number(event.after?.count ?? 0),
  )
  return counts.reduce((sum, each) => sum + each, 0)
}

interface Crowd {
  acts: Act[]
  statuses: SoakTrial['statuses']
  wrong: string[]
  requests: number
  givenUp: number
  underWay: number
  /** How long each verification since the last look took. */
  verifyMs: number[]
  agent: Agent
}

/** Makes what the clients need, and the clients. */
async function gather(to: { api: Rest; issuer: string; adminToken: string }): Promise<Crowd> {
  const { api, issuer, adminToken } = to
  const port = Number(new URL(issuer).port)
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const crowd: Crowd = {
    acts: [],
    statuses: {},
    wrong: [],
    requests: 0,
    givenUp: 0,
    underWay: 0,
    verifyMs: [],
    agent,
  }
  const lasting: string[] = []
  for (let i = 0; i < LASTING_TOKENS; i++) {
    lasting.push(
      (await api.call('POST', '/tokens', { body: { name: `lasting ${i}` } })).body.secret,
    )
  }
  const { body: user } = await api.call('POST', '/users', { body: { username: 'alice' } })
  const { body: reset } = await api.call('POST', `/users/${user.id}/one-time-password`)
  await api.call('POST', '/login', {
    body: { username: 'alice', password: reset.oneTimePassword, newPassword: PASSWORD },
  })
  const families: Refreshing[] = []
  for (let i = 0; i < CLIENTS; i++) families.push(await signIn({ api, issuer, number: i }))
  const recent: { id: string; secret: string }[] = []
  let names = 0

  function note(name: string, status: number): void {
    const of = crowd.statuses[name] ?? {}
    crowd.statuses[name] = of
    of[status] = (of[status] ?? 0) + 1
  }

  function complain(text: string): void {
    if (crowd.wrong.length < 20) crowd.wrong.push(text)
  }

  /** Asks, and says what is wrong unless the answer is one of these or a refusal that passes. */
  async function ask(
    name: string,
    wish: {
      method?: string
      path: string
      auth?: string | undefined
      json?: object
      form?: Record<string, string>
      raw?: { type: string; body: string }
    },
    expected: number[],
  ): Promise<Answer> {
    const { method = 'POST', path, auth = `Bearer ${adminToken}`, json, form } = wish
    const body = json
      ? { type: 'application/json', body: JSON.stringify(json) }
      : form
        ? {
            type: 'application/x-www-form-urlencoded',
            body: new URLSearchParams(form).toString(),
          }
        : wish.raw
    const answer = await exchange({ port, agent, method, path, auth, body }).catch(
      (error: unknown) => ({ status: 0, retryAfter: undefined, text: String(error) }),
    )
    note(name, answer.status)
    const isPassing = answer.status === 503 && /^[1-9]\d*$/.test(answer.retryAfter ?? '')
    if (!expected.includes(answer.status) && !isPassing) {
      complain(`${name} was answered ${answer.status}: ${answer.text.slice(0, 300)}`)
    }
    return answer
  }

  async function verify(secret: string): Promise<boolean | undefined> {
    const beganMs = performance.now()
    const wish = { path: '/api/v1/tokens/verify', json: { token: secret } }
    const { status, text } = await ask('verify', wish, [200])
    crowd.verifyMs.push(performance.now() - beganMs)
    return status === 200 ? JSON.parse(text).active : undefined
  }

  const one = <T>(of: readonly T[]) => of[Math.floor(Math.random() * of.length)] as T
  const taken = () => recent.splice(Math.floor(Math.random() * recent.length), 1)[0]
  function remember(text: string): void {
    const { id, secret } = JSON.parse(text)
    recent.push({ id, secret })
    if (recent.length > RECENT) recent.shift()
  }

  const malformed: (() => Promise<unknown>)[] = [
    () =>
      ask(
        'malformed',
        { path: '/api/v1/tokens', raw: { type: 'application/json', body: '{"name":' } },
        [400],
      ),
    () => ask('malformed', { path: '/api/v1/tokens', json: { name: 7 } }, [400]),
    () => ask('malformed', { path: '/api/v1/nowhere', json: {} }, [404]),
    () => ask('malformed', { path: '/api/v1/tokens', json: {}, auth: 'Bearer nobody' }, [401]),
    () =>
      ask(
        'malformed',
        { path: '/api/v1/tokens', raw: { type: 'text/odd', body: 'x' } },
        [400, 415],
      ),
    () => scrap('GET /\u0000 HTTP/1.1\r\nhost\r\n\r\n', 0),
    () => ask('malformed', { path: '/oauth2/token', form: { grant_type: 'odd' } }, [400, 401]),
  ]

  /** Sends some bytes and goes away after a while without having heard. */
  function scrap(bytes: string, lingerMs: number): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1')
      const timer = setTimeout(() => socket.destroy(), lingerMs + 2000)
      socket.on('connect', () => {
        socket.write(bytes, () => {
          // In the same turn the bytes would be lost, too.
          if (lingerMs === 0) setTimeout(() => socket.destroy(), 1 + Math.random() * 5)
        })
      })
      socket.on('error', () => undefined)
      socket.on('close', () => {
        clearTimeout(timer)
        resolve()
      })
      socket.resume()
    })
  }

  const head = (path: string, length: number) =>
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${adminToken}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
  const list = `GET /api/v1/tokens?limit=200 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${adminToken}\r\n\r\n`

  crowd.acts = [
    {
      name: 'verify',
      share: 90,
      async run() {
        const active = await verify(one(lasting))
        if (active === false) complain('a lasting token is not active')
      },
    },
    {
      name: 'verify one of the latest',
      share: 10,
      async run() {
        const token = one(recent)
        if (token !== undefined) await verify(token.secret)
      },
    },
    {
      name: 'introspect',
      share: 14,
      async run() {
        const { pair, access } = one(families)
        const wish = { path: '/oauth2/introspect', auth: pair, form: { token: access } }
        await ask('introspect', wish, [200])
      },
    },
    {
      name: 'create',
      share: 24,
      async run() {
        const [least, most] = LIFE_MS
        const expiresAt = new Date(Date.now() + least + Math.random() * (most - least))
        const json = { name: `short ${++names}`, expiresAt: expiresAt.toISOString() }
        const { status, text } = await ask('create', { path: '/api/v1/tokens', json }, [201])
        if (status === 201) remember(text)
      },
    },
    {
      name: 'rotate',
      share: 8,
      async run() {
        const token = taken()
        if (token === undefined) return
        // It may have ended in the meantime, or be gone.
        const json = { overlapSeconds: OVERLAP_SECONDS }
        const path = `/api/v1/tokens/${token.id}/rotate`
        const { status, text } = await ask('rotate', { path, json }, [200, 201, 404, 409])
        if (status === 200 || status === 201) remember(text)
      },
    },
    {
      name: 'revoke',
      share: 8,
      async run() {
        const token = taken()
        if (token === undefined) return
        const path = `/api/v1/tokens/${token.id}/revoke`
        const { status } = await ask('revoke', { path, json: {} }, [200, 404, 409])
        if (status === 200 && (await verify(token.secret))) complain('a revoked token is active')
      },
    },
    {
      name: 'refresh',
      share: 6,
      async run() {
        const family = one(families)
        if (family.isBusy) return
        family.isBusy = true
        const form = { grant_type: 'refresh_token', refresh_token: family.refresh }
        const wish = { path: '/oauth2/token', auth: family.pair, form }
        const { status, text } = await ask('refresh', wish, [200])
        if (status === 200) {
          const { access_token, refresh_token } = JSON.parse(text)
          Object.assign(family, { access: access_token, refresh: refresh_token ?? family.refresh })
        }
        family.isBusy = false
      },
    },
    ...['/tokens?limit=50', '/audit?limit=50', '/deliveries?limit=50', '/users?limit=20'].map(
      (path) => ({
        name: 'list',
        share: 4,
        run: async () => {
          await ask('list', { method: 'GET', path: `/api/v1${path}` }, [200])
        },
      }),
    ),
    {
      name: 'login',
      share: 1,
      async run() {
        const isRight = Math.random() < 0.8
        const json = { username: isRight ? 'alice' : `nobody${names}`, password: PASSWORD }
        await ask('login', { path: '/api/v1/login', json, auth: '' }, [isRight ? 200 : 401])
      },
    },
    {
      name: 'malformed',
      share: 9,
      run: async () => void (await one(malformed)()),
    },
    {
      name: 'aborted',
      share: 6,
      run: () =>
        scrap(
          one([
            list,
            `${head('/api/v1/tokens', 18)}{"name":"aborted"}`,
            `${head('/api/v1/tokens/verify', 5000)}{"token":"`,
          ]),
          0,
        ),
    },
    {
      name: 'half',
      share: 1,
      run: () =>
        scrap(
          one([
            'POST /api/v1/tokens/verify HTTP/1.1\r\nhost: loc',
            `${head('/api/v1/tokens/verify', 5000)}{"token":"`,
            `${head('/api/v1/tokens', 500)}{"name":"`,
          ]),
          1 + Math.random() * HALF_MS,
        ),
    },
  ]
  return crowd
}

async function signIn({
  api,
  issuer,
  number,
}: {
  api: Rest
  issuer: string
  number: number
}): Promise<Refreshing> {
  const body = { name: `client ${number}`, redirectUris: [REDIRECT_URI] }
  const { clientId, secret } = (await api.call('POST', '/clients', { body })).body
  const { query, verifier } = lastingRequest(clientId)
  const browser = openBrowser(issuer)
  const page = await goThrough(browser, await browser.open(`${issuer}/oauth2/authorize?${query}`))
  const pair = `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}`
  const response = await fetch(`${issuer}/oauth2/token`, {
    method: 'POST',
    headers: { authorization: pair },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: page.url.searchParams.get('code') ?? '',
      redirect_uri: REDIRECT_URI,
      code_verifier: verifier,
    }),
  })
  const tokens = (await response.json()) as { access_token: string; refresh_token: string }
  if (!response.ok) throw new Error(`No tokens: ${JSON.stringify(tokens)}`)
  return { pair, refresh: tokens.refresh_token, access: tokens.access_token, isBusy: false }
}

function exchange({
  port,
  agent,
  method,
  path,
  auth,
  body,
}: {
  port: number
  agent: Agent
  method: string
  path: string
  auth: string
  body: { type: string; body: string } | undefined
}): Promise<Answer> {
  const headers = {
    ...(auth === '' ? {} : { authorization: auth }),
    ...(body === undefined
      ? {}
      : { 'content-type': body.type, 'content-length': Buffer.byteLength(body.body) }),
  }
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, agent, method, path, headers })
    asked.setTimeout(DEADLINE_MS, () => asked.destroy(new Error('There was no answer in time.')))
    asked.on('error', reject)
    asked.on('response', (response: IncomingMessage) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('error', reject)
      response.on('end', () => {
        const retryAfter = response.headers['retry-after']
        resolve({ status: response.statusCode ?? 0, retryAfter, text })
      })
    })
    asked.end(body?.body)
  })
}

/** Sends what is due, whatever the answers are like, then waits for the last ones. */
async function offer(crowd: Crowd, endMs: number): Promise<void> {
  const deck = crowd.acts.flatMap((act) => Array.from({ length: act.share }, () => act))
  const beganMs = performance.now()
  for (let due = 0; performance.now() < endMs; await sleep(TICK_MS)) {
    const wanted = ((performance.now() - beganMs) / 1000) * RATE
    for (; due < wanted; due++) {
      if (crowd.underWay >= MAX_UNDER_WAY) {
        crowd.givenUp++
        continue
      }
      const act = deck[Math.floor(Math.random() * deck.length)] as Act
      crowd.requests++
      crowd.underWay++
      void act
        .run()
        .catch((error: unknown) => crowd.wrong.push(`${act.name}: ${String(error)}`))
        .finally(() => crowd.underWay--)
    }
  }
  const latestMs = performance.now() + 2 * HALF_MS
  while (crowd.underWay > 0 && performance.now() < latestMs) await sleep(TICK_MS)
  crowd.agent.destroy()
}

/** Looks at what the server holds and did since the last look. */
async function sampler({
  server,
  dataDir,
  crowd,
}: {
  server: ServerProcess
  dataDir: string
  crowd: Crowd
}): Promise<() => Promise<SoakSample>> {
  const beganMs = performance.now()
  const first = await figuresOf(server.url)
  let last = {
    atMs: beganMs,
    requests: 0,
    cpuSeconds: first('process_cpu_seconds_total'),
    waitedMs: waitedMs(server.pid),
  }
  return async () => {
    const { requests } = crowd
    const verifyMs = crowd.verifyMs.splice(0).toSorted((a, b) => a - b)
    const share = (part: number) => round(verifyMs[Math.floor(verifyMs.length * part)] ?? 0)
    // What was held up until now, then what is left when garbage is gone; that takes time of its own.
    const during = await figuresOf(server.url)
    const cpuSeconds = during('process_cpu_seconds_total')
    const robbedMs = waitedMs(server.pid) - last.waitedMs
    const robbed = round(robbedMs / (performance.now() - last.atMs))
    server.signal('SIGUSR2')
    await sleep(COLLECT_MS)
    const after = await figuresOf(server.url)
    const cpuMs = (cpuSeconds - last.cpuSeconds) * 1000
    const cpuMsPerRequest = round(cpuMs / Math.max(1, requests - last.requests))
    last = {
      atMs: performance.now(),
      requests,
      cpuSeconds: after('process_cpu_seconds_total'),
      waitedMs: waitedMs(server.pid),
    }
    return {
      atMs: Math.round(performance.now() - beganMs),
      requests,
      p50Ms: share(0.5),
      p99Ms: share(0.99),
      heapBytes: after('nodejs_heap_size_used_bytes'),
      externalBytes: after('nodejs_external_memory_bytes'),
      residentBytes: after('process_resident_memory_bytes'),
      descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
      resources: after('nodejs_active_resources_total'),
      stallMs: round(during('nodejs_eventloop_lag_max_seconds') * 1000),
      cpuMsPerRequest,
      robbed,
      databaseBytes: sizeOf(`${dataDir}/mintmark.db`),
      walBytes: sizeOf(`${dataDir}/mintmark.db-wal`),
    }
  }
}

const round = (value: number) => Math.round(value * 100) / 100

/** How long its main thread has waited for a core: the second number (docs.kernel.org/scheduler/sched-stats). */
function waitedMs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

async function figuresOf(url: string): Promise<(name: string) => number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return (name) => Number(new RegExp(`^mintmark_${name} (\\S+)`, 'm').exec(text)?.[1])
}
