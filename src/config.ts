import { createSecureContext } from 'node:tls'
import { type Key, type LogLevel, SETTINGS, type Setting, type Values } from './config/settings.ts'
import { type DatabaseUrl, databaseUrl } from './config/values.ts'
import type { GithubKeys } from './core/leaks/github.ts'
import type { Secret } from './core/secret.ts'
import { checkNewPassword } from './core/users/password.ts'

export interface Config {
  host: string
  port: number
  dataDir: string
  database: DatabaseConfig
  /** Where clients reach the server: scheme, host, port, no trailing slash. */
  publicUrl: string
  /** Absent: the key file in the data directory, made at the first start. */
  masterKey: Secret | undefined
  /** What `mintmark keys rewrap` changes to. */
  newMasterKey: Secret | undefined
  bootstrap: { username: string; password: Secret | undefined; token: Secret | undefined }
  logLevel: LogLevel
  /** PEM texts. */
  tls: { cert: string; key: string } | undefined
  /** Peers whose X-Forwarded-For is believed: addresses or CIDR ranges. */
  trustedProxies: string[]
  /** Requests per minute and address to login and other unauthenticated doors. */
  loginRateLimit: number
  /** Whether `/metrics` answers without a credential. */
  metricsPublic: boolean
  /** Whether the XMS wire takes its credential from `?token=`. */
  xmsQueryToken: boolean
  /** Absent: sign-in through an upstream provider is off. */
  upstream: UpstreamConfig | undefined
  /** How long a repeated refresh by the same client gets the same successor; 0: never. */
  refreshGraceSeconds: number
  /** Where what is revoked is written down besides the database; undefined: nowhere. */
  revocationJournal: string | undefined
  /** Bound of the verdict cache. */
  maxCachedTokens: number
  /** How long requests may wait before what is heavy is refused. */
  shedAfterMs: number
  /** Requests under way at a time. */
  maxRequests: number
  /** Connections open at a time. */
  maxConnections: number
  /** How long a shutdown waits for requests under way. */
  drainSeconds: number
  /** How long a node answers from memory without the database. */
  leaseMs: number
  /** How long an answer to a change waits for the other nodes. */
  revokeWaitMs: number
  /** Where this very node is reached; absent: where it listens. */
  nodeAddress: string | undefined
  /** Processes behind the port. */
  workers: number
  /** Ranges that webhooks may lead to besides public addresses. */
  webhookAllow: string[]
  /** Whether webhooks may be plain http. */
  webhookHttp: boolean
  /** Whose reports of leaked secrets are believed; absent: GitHub reports nothing here. */
  githubKeys: GithubKeys | undefined
}

/** From MINTMARK_DATABASE_URL, or the SQLite file in the data directory. */
export type DatabaseConfig =
  | { kind: 'sqlite'; file: string }
  | {
      kind: 'postgres'
      url: Secret
      pool: number
      pollMs: number
      waitMs: number
      notices: boolean
    }

/** The OpenID provider behind S7's browser sign-in. */
export interface UpstreamConfig {
  issuer: string
  clientId: string
  clientSecret: Secret | undefined
  /** The one claim that names the user. */
  usernameClaim: string
  /** Where the browser may be sent after signing in: exact URLs, or prefixes that end in `/`. */
  returnUrls: string[]
  /** Redirect URIs that S7's `POST /login` may name, besides our own callbacks. */
  redirectUris: string[]
}

/** All problems of a configuration at once, as sentences. */
export class ConfigError extends Error {
  readonly problems: string[]
  constructor(problems: string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

export interface Environment {
  env: Record<string, string | undefined>
  readFile: (path: string) => string
}

/**
 * Environment → Config. Each setting also as `NAME_FILE`. Throws `ConfigError` with every problem.
 */
export function readConfig({ env, readFile }: Environment): Config {
  const problems: string[] = []
  const values: Partial<Record<Key, unknown>> = {}
  for (const [key, setting] of Object.entries(SETTINGS) as [Key, Setting][]) {
    const text = textOf(setting, { env, readFile }, problems)
    if (text === undefined) continue
    try {
      values[key] = setting.parse(text)
    } catch (error) {
      problems.push(`${setting.name} ${(error as Error).message}`)
    }
  }
  // Each was parsed by its own setting, which fixes its type.
  const typed = values as Partial<Values>
  problems.push(...unknownNames(env), ...crossChecks(typed))
  if (problems.length > 0) throw new ConfigError(problems)
  return assemble(typed as Values)
}

function textOf(
  setting: Setting,
  { env, readFile }: Environment,
  problems: string[],
): string | undefined {
  const { name } = setting
  const direct = env[name]
  const path = env[`${name}_FILE`]
  if (direct !== undefined && path !== undefined) {
    problems.push(`${name} and ${name}_FILE are both set. Set one of them.`)
    return undefined
  }
  if (path !== undefined) {
    try {
      return readFile(path).replace(/\r?\n$/, '')
    } catch (error) {
      problems.push(`${name}_FILE cannot be read: ${(error as Error).message}.`)
      return undefined
    }
  }
  return direct === undefined || direct === '' ? setting.fallback : direct
}

/** A misspelt setting would otherwise be ignored in silence. */
function unknownNames(env: Environment['env']): string[] {
  const known = new Set(Object.values(SETTINGS).map(({ name }) => name))
  // Read by the CLI, not by the server.
  for (const name of ['MINTMARK_URL', 'MINTMARK_TOKEN']) known.add(name)
  return Object.keys(env)
    .filter((name) => name.startsWith('MINTMARK_') && !name.startsWith('MINTMARK_TEST_'))
    .filter((name) => !known.has(name) && !known.has(name.replace(/_FILE$/, '')))
    .map((name) => `${name} is not a setting. \`mintmark config\` lists them all.`)
}

function crossChecks(values: Partial<Values>): string[] {
  const problems: string[] = []
  if ((values.tlsCert === undefined) !== (values.tlsKey === undefined)) {
    problems.push('MINTMARK_TLS_CERT and MINTMARK_TLS_KEY go together. Set both or neither.')
  }
  if ((values.upstreamIssuer === undefined) !== (values.upstreamClientId === undefined)) {
    problems.push(
      'MINTMARK_UPSTREAM_ISSUER and MINTMARK_UPSTREAM_CLIENT_ID go together. Set both or neither.',
    )
  }
  const { tlsCert, tlsKey, bootstrapPassword, bootstrapUsername } = values
  if (tlsCert !== undefined && tlsKey !== undefined) {
    try {
      createSecureContext({ cert: tlsCert, key: tlsKey.reveal() })
    } catch {
      problems.push(
        'MINTMARK_TLS_CERT and MINTMARK_TLS_KEY must be a certificate and its own private key, both in PEM.',
      )
    }
  }
  if (bootstrapPassword !== undefined) {
    try {
      checkNewPassword(bootstrapPassword.reveal(), { username: String(bootstrapUsername) })
    } catch (error) {
      problems.push(`MINTMARK_BOOTSTRAP_PASSWORD: ${(error as Error).message}`)
    }
  }
  return problems
}

/**
 * The database that a URL names, as MINTMARK_DATABASE_URL does, with the limits of the configuration.
 * Throws `ConfigError`.
 */
export function databaseAt(text: string, { database }: Pick<Config, 'database'>): DatabaseConfig {
  try {
    const limits =
      database.kind === 'postgres'
        ? database
        : { pool: 10, pollMs: 250, waitMs: 10_000, notices: true }
    const { pool, pollMs, waitMs, notices } = limits
    return databaseOf(databaseUrl(text), { dataDir: '', pool, pollMs, waitMs, notices })
  } catch (error) {
    throw new ConfigError([`The database ${(error as Error).message}`])
  }
}

function databaseOf(
  url: DatabaseUrl | undefined,
  {
    dataDir,
    ...limits
  }: { dataDir: string; pool: number; pollMs: number; waitMs: number; notices: boolean },
): DatabaseConfig {
  if (url === undefined) return { kind: 'sqlite', file: `${dataDir}/mintmark.db` }
  return url.kind === 'sqlite' ? url : { ...url, ...limits }
}

function journalOf(path: string | undefined, dataDir: string): string | undefined {
  return path === 'none' ? undefined : (path ?? `${dataDir}/revocations.log`)
}

function assemble(values: Values): Config {
  const { tlsKey, tlsCert, host, port, dataDir } = values
  const scheme = tlsCert === undefined ? 'http' : 'https'
  const named = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  const { upstreamIssuer: issuer, upstreamClientId: clientId } = values
  return {
    host,
    port,
    dataDir,
    database: databaseOf(values.databaseUrl, {
      dataDir,
      pool: values.databasePool,
      pollMs: values.pollMs,
      waitMs: values.databaseWaitMs,
      notices: values.databaseNotices,
    }),
    publicUrl:
      values.publicUrl ?? `${scheme}://${named.includes(':') ? `[${named}]` : named}:${port}`,
    masterKey: values.masterKey,
    newMasterKey: values.newMasterKey,
    bootstrap: {
      username: values.bootstrapUsername,
      password: values.bootstrapPassword,
      token: values.bootstrapToken,
    },
    logLevel: values.logLevel,
    tls:
      tlsCert === undefined || tlsKey === undefined
        ? undefined
        : { cert: tlsCert, key: tlsKey.reveal() },
    trustedProxies: values.trustedProxies,
    loginRateLimit: values.loginRateLimit,
    metricsPublic: values.metricsPublic,
    xmsQueryToken: values.xmsQueryToken,
    upstream:
      issuer === undefined || clientId === undefined
        ? undefined
        : {
            issuer,
            clientId,
            clientSecret: values.upstreamClientSecret,
            usernameClaim: values.upstreamUsernameClaim,
            returnUrls: values.upstreamReturnUrls,
            redirectUris: values.upstreamRedirectUris,
          },
    refreshGraceSeconds: values.refreshGraceSeconds,
    revocationJournal: journalOf(values.revocationJournal, dataDir),
    maxCachedTokens: values.maxCachedTokens,
    shedAfterMs: values.shedAfterMs,
    maxRequests: values.maxRequests,
    maxConnections: values.maxConnections,
    drainSeconds: values.drainSeconds,
    leaseMs: values.leaseMs,
    revokeWaitMs: values.revokeWaitMs,
    nodeAddress: values.nodeAddress,
    workers: values.workers,
    webhookAllow: values.webhookAllow,
    webhookHttp: values.webhookHttp,
    githubKeys: values.githubKeys,
  }
}
