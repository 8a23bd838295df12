import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { requestText, startGenerator } from './generator.ts'
import type { KindResult, LoadResult } from './load-job.ts'
import { startProcess } from './process.ts'
import { rest } from './rest.ts'

const USERS = 10
const LOGINS = 500
const VERIFICATIONS_A_SECOND = 1000
const SECONDS = 8
/** So long after the verifications the logins begin, and so long after them people try again. */
const LEAD_MS = 1000
const REST_MS = 3000
const DEADLINE_MS = 1000

export interface LoginStorm {
  verify: KindResult
  lateness: LoadResult['lateness']
  /** Of the storm: right passwords, wrong ones of people who exist, and names that nobody has. */
  logins: Record<'right' | 'wrong' | 'nobody', KindResult>
  sent: number
  unsent: number
  /** The longest stall of the server's event loop, and what 99 % of its turns took less than. */
  stall: { maxMs: number; p99Ms: number }
  /** Of those who were not under attack, how many got in with their password afterwards, at once. */
  admitted: number
  users: number
}

/** Lets hundreds of logins arrive within a second while a thousand verifications a second go on. */
export async function loginStorm({
  dataDir,
  env = {},
}: {
  dataDir: string
  env?: Record<string, string>
}): Promise<LoginStorm> {
  const adminToken = `boot-${randomBytes(30).toString('base64url')}`
  const server = await startProcess({
    dataDir,
    env: {
      MINTMARK_BOOTSTRAP_TOKEN: adminToken,
      MINTMARK_LOGIN_RATE_LIMIT: '1000000',
      MINTMARK_LOG_LEVEL: 'warn',
      ...env,
    },
  })
  const [verifier, crowd] = [startGenerator(), startGenerator()]
  try {
    const api = rest(server.url, adminToken)
    const people = await makePeople(USERS * 2)
    const [calm, attacked] = [people.slice(0, USERS), people.slice(USERS)]
    const port = Number(new URL(server.url).port)
    const deadlineMs = DEADLINE_MS
    const login = (username: string, password: string) =>
      requestText({ method: 'POST', path: '/api/v1/login', body: { username, password } })
    const wrong = 'not the password at all'
    await stallOf(server.url)
    const verifying = verifier.run({
      port,
      deadlineMs,
      seconds: SECONDS,
      rate: VERIFICATIONS_A_SECOND,
      connections: 100,
      kinds: [
        {
          name: 'verify',
          share: 1,
          requests: [
            requestText({
              method: 'POST',
              path: '/api/v1/tokens/verify',
              token: adminToken,
              body: { token: adminToken },
            }),
          ],
        },
      ],
    })
    await sleep(LEAD_MS)
    const storm = await crowd.run({
      port,
      deadlineMs,
      seconds: 1,
      rate: LOGINS,
      connections: LOGINS,
      kinds: [
        {
          name: 'right',
          share: 1,
          requests: calm.map(({ username, password }) => login(username, password)),
        },
        {
          name: 'wrong',
          share: 1,
          requests: attacked.map(({ username }) => login(username, wrong)),
        },
        {
          name: 'nobody',
          share: 2,
          requests: Array.from({ length: LOGINS }, (_, i) => login(`nobody${i}`, wrong)),
        },
      ],
    })
    const { kinds, lateness } = await verifying
    const stall = await stallOf(server.url)
    await sleep(REST_MS)
    let admitted = 0
    for (const { username, password } of calm) {
      if ((await tryLogin({ username, password })) === 200) admitted++
    }
    return {
      verify: kinds.verify as KindResult,
      lateness,
      logins: storm.kinds as LoginStorm['logins'],
      sent: storm.sent,
      unsent: storm.unsent,
      stall,
      admitted,
      users: calm.length,
    }

    async function makePeople(count: number): Promise<{ username: string; password: string }[]> {
      const made: { username: string; password: string }[] = []
      for (let i = 0; i < count; i++) {
        const username = `person${i}`
        const { body: user } = await api.call('POST', '/users', { body: { username } })
        const reset = await api.call('POST', `/users/${user.id}/one-time-password`)
        const password = `${randomBytes(9).toString('base64url')} quiet harbour`
        await tryLogin({ username, password: reset.body.oneTimePassword, newPassword: password })
        made.push({ username, password })
      }
      return made
    }

    async function tryLogin(body: object): Promise<number> {
      const response = await fetch(`${server.url}/api/v1/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      await response.body?.cancel()
      return response.status
    }
  } finally {
    verifier.end()
    crowd.end()
    await server.end('SIGKILL')
  }
}

/** How long the server's event loop was held up since this was last asked. */
async function stallOf(url: string): Promise<LoginStorm['stall']> {
  const metrics = await (await fetch(`${url}/metrics`)).text()
  const ms = (name: string) => {
    const found = new RegExp(`^mintmark_nodejs_eventloop_lag_${name}_seconds (\\S+)`, 'm')
    return Math.round(Number(found.exec(metrics)?.[1]) * 1000)
  }
  return { maxMs: ms('max'), p99Ms: ms('p99') }
}
