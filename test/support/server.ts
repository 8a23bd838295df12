import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import type { InjectOptions } from 'fastify'
import { pino } from 'pino'
import { type App, buildApp } from '../../src/app.ts'
import { type Config, readConfig } from '../../src/config.ts'
import { SECRET_PATTERN, Secret } from '../../src/core/secret.ts'
import { newDatabase, type TestDatabase } from './database.ts'

/** A clock that only a test moves. */
export interface TestClock {
  now(): number
  advance(ms: number): void
}

export interface Answer {
  status: number
  // Tests look into answers of every shape; the contract tests check the shapes.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  body: any
  text: string
  headers: Record<string, string | string[] | number | undefined>
}

export interface CallOptions {
  /** Sent as `Authorization: Bearer`; default: the admin's bootstrap token. `null`: none. */
  token?: string | null
  headers?: Record<string, string>
  body?: unknown
  /** Sent as is, instead of `body` as JSON. */
  rawBody?: string
}

export interface TestServer {
  app: App
  clock: TestClock
  config: Config
  dataDir: string
  database: TestDatabase
  masterKey: Secret
  /** FULL_ACCESS token of the first admin. */
  adminToken: string
  adminPassword: string
  call(method: string, url: string, options?: CallOptions): Promise<Answer>
  /** Makes a user and a token of theirs. */
  makeUser(wish: {
    username: string
    globalRole?: 'ADMIN' | 'USER'
    roles?: string[]
    accessLevel?: 'READ_ONLY' | 'FULL_ACCESS'
  }): Promise<{ id: string; token: string }>
  /** Lines logged so far. */
  logLines(): string[]
  /** Every secret handed out or used; none may appear in the log. */
  remember(secret: string): void
  /** Stops and checks that no secret was logged. */
  close(): Promise<void>
  /** Stops, then opens the same data again. */
  restart(): Promise<void>
}

const EPOCH_MS = Date.UTC(2030, 0, 1)

function movableClock(): TestClock {
  let nowMs = EPOCH_MS
  return {
    now: () => nowMs,
    advance: (ms) => {
      nowMs += ms
    },
  }
}

/**
 * A whole server on a real database of its own, driven in process; or `beside` another one, on the
 * same database, which must be PostgreSQL.
 */
export async function startServer(
  env: Record<string, string> = {},
  { clock = movableClock(), beside }: { clock?: TestClock; beside?: TestServer } = {},
): Promise<TestServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-test-'))
  const database = beside?.database ?? (await newDatabase(dataDir))
  const adminToken = beside?.adminToken ?? `boot-${randomBytes(30).toString('base64url')}`
  const adminPassword = `${randomBytes(12).toString('base64url')} bench lamp`
  const masterKey = beside?.masterKey ?? new Secret(randomBytes(32).toString('base64url'))
  const secrets = new Set([adminToken, adminPassword, masterKey.reveal()])
  const lines: string[] = []
  const sink = new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const log = pino({ level: 'trace' }, sink)
  const config = readConfig({
    env: {
      MINTMARK_DATA_DIR: dataDir,
      ...database.env,
      MINTMARK_BOOTSTRAP_PASSWORD: adminPassword,
      MINTMARK_BOOTSTRAP_TOKEN: adminToken,
      MINTMARK_LOGIN_RATE_LIMIT: '100000',
      ...env,
    },
    readFile: () => '',
  })

  async function open(): Promise<App> {
    const app = await buildApp(config, { masterKey, log, clock })
    await app.core.bootstrap(config.bootstrap)
    await app.server.ready()
    return app
  }

  let app = await open()

  const server: TestServer = {
    get app() {
      return app
    },
    clock,
    config,
    dataDir,
    database,
    masterKey,
    adminToken,
    adminPassword,
    async call(method, url, options = {}) {
      const token = options.token === undefined ? adminToken : options.token
      const json =
        options.rawBody ?? (options.body === undefined ? undefined : JSON.stringify(options.body))
      const response = await app.server.inject({
        method: method as NonNullable<InjectOptions['method']>,
        url,
        headers: {
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...options.headers,
        },
        ...(json === undefined ? {} : { payload: json }),
      })
      for (const found of response.body.match(SECRET_PATTERN) ?? []) secrets.add(found)
      return {
        status: response.statusCode,
        body: parsed(response.body),
        text: response.body,
        headers: response.headers,
      }
    },
    async makeUser({ username, globalRole = 'USER', roles = [], accessLevel = 'FULL_ACCESS' }) {
      const user = await server.call('POST', '/api/v1/users', {
        body: { username, globalRole, roles },
      })
      if (user.status !== 201) throw new Error(`No user: ${user.text}`)
      const token = await server.call('POST', '/api/v1/tokens', {
        body: {
          ownerId: user.body.id,
          kind: 'api',
          name: 'test',
          accessLevel,
          roles: null,
          groups: null,
          scopes: null,
        },
      })
      if (token.status !== 201) throw new Error(`No token: ${token.text}`)
      return { id: user.body.id as string, token: token.body.secret as string }
    },
    logLines: () => lines,
    remember: (secret) => secrets.add(secret),
    async close() {
      // A connection that never asked counts as busy for a minute; the process cuts those off, too.
      const late = setTimeout(() => app.server.server.closeAllConnections(), 1000)
      await app.close()
      clearTimeout(late)
      if (beside === undefined) await database.drop()
      rmSync(dataDir, { recursive: true, force: true })
      const log = lines.join('')
      const leaked = [...secrets].filter((secret) => log.includes(secret))
      if (leaked.length > 0) throw new Error(`${leaked.length} secrets were logged.`)
    },
    async restart() {
      await app.close()
      app = await open()
    },
  }
  return server
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
