import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { createSecureContext } from 'node:tls'
import { parseCidr } from './core/ip.ts'
import { type GithubKeys, readGithubKeys } from './core/leaks/github.ts'
import { CHOSEN_SECRET, mayBeChosen, Secret } from './core/secret.ts'
import { checkName } from './core/text.ts'
import { checkNewPassword } from './core/users/password.ts'

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
type LogLevel = (typeof LOG_LEVELS)[number]

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

type Parsed = Record<string, unknown>

/** `no-verify` is for those who know why; `prefer` would fall back to plain text when told to. */
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full', 'no-verify']

type DatabaseUrl = { kind: 'sqlite'; file: string } | { kind: 'postgres'; url: Secret }

interface Setting {
  name: string
  summary: string
  /** As `mintmark config` shows it. */
  fallback?: string
  secret?: boolean
  /** Returns the value or throws an Error whose message is a sentence. */
  parse: (text: string) => unknown
}

const asIs = (text: string) => text
const wholeNumber = (least: number, most: number) => (text: string) => {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= least && number <= most)) {
    throw new Error(`must be a whole number from ${least} to ${most}.`)
  }
  return number
}
const secondsToMs = (least: number, most: number) => (text: string) => {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds >= least && seconds <= most)) {
    throw new Error(`must be seconds from ${least} to ${most}, such as 2 or 2.5.`)
  }
  return Math.round(seconds * 1000)
}
const workers = (text: string) => {
  if (text === 'auto') return availableParallelism()
  const number = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (number < 1 || number > 256) throw new Error('must be auto, or a whole number from 1 to 256.')
  return number
}
const yesOrNo = (text: string) => {
  if (text === 'true' || text === 'false') return text === 'true'
  throw new Error('must be "true" or "false".')
}
const words = (text: string) =>
  text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
const oneOf = (values: readonly string[]) => (text: string) => {
  if (values.includes(text)) return text
  throw new Error(`must be one of ${values.join(', ')}.`)
}
const secretOf = (least: number) => (text: string) => {
  if (text.length >= least) return new Secret(text)
  throw new Error(`needs at least ${least} characters.`)
}
const addressRanges = (text: string) => {
  const ranges = words(text)
  const wrong = ranges.find((range) => isIP(range) === 0 && parseCidr(range) === undefined)
  if (wrong === undefined) return ranges
  throw new Error(`has "${wrong}", which is neither an address nor a range like 10.0.0.0/8.`)
}
/** A single address as the range that it is. */
const asRange = (text: string) =>
  text.includes('/') ? text : `${text}/${isIP(text) === 6 ? 128 : 32}`
/** Kept to the letter: providers compare issuers exactly, and some end theirs in a slash. */
const issuerUrl = (text: string) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (url === undefined || !isHttp || url.search !== '' || url.hash !== '') {
    throw new Error('must be an http or https URL without query or fragment.')
  }
  return text
}
const username = (text: string) => {
  try {
    return checkName(text, { what: 'The username', maxLength: 150 })
  } catch (error) {
    throw new Error(`cannot be used: ${(error as Error).message}`)
  }
}
const chosenSecret = (text: string) => {
  if (mayBeChosen(text)) return new Secret(text)
  throw new Error(`must be ${CHOSEN_SECRET}.`)
}
/** Pages and cookies of the OpenID provider are at the root, so a path would lead nowhere. */
const publicUrl = (text: string) => {
  const url = issuerUrl(text).replace(/\/+$/, '')
  if (new URL(url).pathname === '/') return url
  throw new Error('must not have a path. Give Mintmark a host name or port of its own.')
}
const databaseUrl = (text: string): DatabaseUrl => {
  const file = /^sqlite:(?:\/\/)?(.+)$/.exec(text)?.[1]
  if (file !== undefined) return { kind: 'sqlite', file }
  // Nothing of the text may be repeated: it holds a password.
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) {
    throw new Error(
      'must look like sqlite:/var/lib/mintmark/mintmark.db or postgres://user:password@host:5432/name, with special characters of the password percent-encoded.',
    )
  }
  const url = new URL(text)
  const mode = url.searchParams.get('sslmode')
  if (mode !== null && !SSL_MODES.includes(mode)) {
    throw new Error(`must have a sslmode of ${SSL_MODES.join(', ')}.`)
  }
  if (url.pathname.length < 2) {
    throw new Error('must end in the name of the database, as in postgres://host:5432/mintmark.')
  }
  // No half measures: an encrypted connection to whoever answers protects nothing.
  if (mode === 'require' || mode === 'verify-ca') url.searchParams.set('sslmode', 'verify-full')
  return { kind: 'postgres', url: new Secret(url.href) }
}

/** Every setting there is; `mintmark config` and docs/reference/config.md are printed from it. */
const SETTINGS = {
  host: {
    name: 'MINTMARK_HOST',
    summary: 'Address to listen on.',
    fallback: '127.0.0.1',
    parse: asIs,
  },
  port: {
    name: 'MINTMARK_PORT',
    summary: 'Port to listen on; 0 takes a free one.',
    fallback: '8080',
    parse: wholeNumber(0, 65_535),
  },
  dataDir: {
    name: 'MINTMARK_DATA_DIR',
    summary: 'Directory of the database and the key file.',
    fallback: './data',
    parse: asIs,
  },
  databaseUrl: {
    name: 'MINTMARK_DATABASE_URL',
    summary:
      'Database: sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/NAME for any number of nodes. Absent: mintmark.db in the data directory. With sslmode=require or verify-full the server’s certificate is verified, against the one in sslrootcert=PATH if given. May hold a password, so it is never shown.',
    secret: true,
    parse: databaseUrl,
  },
  databasePool: {
    name: 'MINTMARK_DATABASE_POOL',
    summary:
      'Connections to PostgreSQL at most, per node, besides the one that listens for changes.',
    fallback: '10',
    parse: wholeNumber(2, 1000),
  },
  databaseWaitMs: {
    name: 'MINTMARK_DATABASE_WAIT_MS',
    summary:
      'How long, in milliseconds, a request waits for a connection to PostgreSQL, or a change for its turn, before it is answered 503.',
    fallback: '2000',
    parse: wholeNumber(100, 60_000),
  },
  pollMs: {
    name: 'MINTMARK_POLL_MS',
    summary:
      'How often, in milliseconds, a node reads what others changed in PostgreSQL when no notice reaches it.',
    fallback: '250',
    parse: wholeNumber(10, 60_000),
  },
  databaseNotices: {
    name: 'MINTMARK_DATABASE_NOTICES',
    summary:
      'Whether PostgreSQL tells nodes of changes (LISTEN and NOTIFY). Set it to false behind a pooler in transaction mode: nodes then ask every MINTMARK_POLL_MS.',
    fallback: 'true',
    parse: yesOrNo,
  },
  leaseMs: {
    name: 'MINTMARK_NODE_LEASE',
    summary:
      'Seconds for which a node that cannot reach PostgreSQL goes on answering from memory; after that it answers 503. Others wait as long for a node that died before they count it as gone.',
    fallback: '5',
    parse: secondsToMs(1, 60),
  },
  revokeWaitMs: {
    name: 'MINTMARK_REVOKE_WAIT',
    summary:
      'Seconds that the answer to a revocation, and to any other change that takes something away, waits at most until all nodes have acknowledged it.',
    fallback: '2',
    parse: secondsToMs(0, 60),
  },
  nodeAddress: {
    name: 'MINTMARK_NODE_ADDRESS',
    summary:
      'URL under which this very node is reached, past any load balancer; shown to administrators and used by `mintmark drill`. Absent: where it listens.',
    parse: issuerUrl,
  },
  workers: {
    name: 'MINTMARK_WORKERS',
    summary:
      'Processes that answer behind the one port: a number, or auto for as many as there are cores.',
    fallback: '1',
    parse: workers,
  },
  publicUrl: {
    name: 'MINTMARK_PUBLIC_URL',
    summary:
      'Where clients reach the server. Absent: built from host and port. Set it behind a proxy.',
    parse: publicUrl,
  },
  masterKey: {
    name: 'MINTMARK_MASTER_KEY',
    summary:
      'Opens the keys in the database; at least 32 characters, best from `openssl rand -base64 32`. Absent: the file master.key in the data directory, made at the first start.',
    secret: true,
    parse: secretOf(32),
  },
  newMasterKey: {
    name: 'MINTMARK_NEW_MASTER_KEY',
    summary:
      'The master key to change to, at least 32 characters; read by `mintmark keys rewrap` alone. Absent: a new key file takes the place of master.key.',
    secret: true,
    parse: secretOf(32),
  },
  bootstrapUsername: {
    name: 'MINTMARK_BOOTSTRAP_USERNAME',
    summary: 'Name of the admin made at the first start.',
    fallback: 'admin',
    parse: username,
  },
  bootstrapPassword: {
    name: 'MINTMARK_BOOTSTRAP_PASSWORD',
    summary:
      'Password of that admin, at least 15 characters. Absent: a random one-time password, printed once.',
    secret: true,
    parse: secretOf(1),
  },
  bootstrapToken: {
    name: 'MINTMARK_BOOTSTRAP_TOKEN',
    summary:
      'Secret of a FULL_ACCESS api token of that admin, for automation; 32 to 256 characters.',
    secret: true,
    parse: chosenSecret,
  },
  logLevel: {
    name: 'MINTMARK_LOG_LEVEL',
    summary: `How much is logged: ${LOG_LEVELS.join(', ')}.`,
    fallback: 'info',
    parse: oneOf(LOG_LEVELS),
  },
  tlsCert: {
    name: 'MINTMARK_TLS_CERT',
    summary: 'Certificate chain in PEM; most easily as MINTMARK_TLS_CERT_FILE.',
    parse: asIs,
  },
  tlsKey: {
    name: 'MINTMARK_TLS_KEY',
    summary: 'Private key in PEM; most easily as MINTMARK_TLS_KEY_FILE.',
    secret: true,
    parse: secretOf(1),
  },
  trustedProxies: {
    name: 'MINTMARK_TRUSTED_PROXIES',
    summary:
      'Addresses or CIDR ranges, comma-separated, of proxies whose X-Forwarded-For is believed.',
    fallback: '',
    parse: addressRanges,
  },
  loginRateLimit: {
    name: 'MINTMARK_LOGIN_RATE_LIMIT',
    summary: 'Logins and other unauthenticated calls per minute and client address.',
    fallback: '60',
    parse: wholeNumber(1, 1_000_000),
  },
  metricsPublic: {
    name: 'MINTMARK_METRICS_PUBLIC',
    summary:
      'Whether /metrics answers without a credential. With false, any active token may read it.',
    fallback: 'true',
    parse: yesOrNo,
  },
  xmsQueryToken: {
    name: 'MINTMARK_XMS_QUERY_TOKEN',
    summary:
      'Whether XMS calls may carry the token in ?token=, as the official Go client always does.',
    fallback: 'true',
    parse: yesOrNo,
  },
  upstreamIssuer: {
    name: 'MINTMARK_UPSTREAM_ISSUER',
    summary: 'Issuer URL of the OpenID provider behind S7 sign-in. Absent: that sign-in is off.',
    parse: issuerUrl,
  },
  upstreamClientId: {
    name: 'MINTMARK_UPSTREAM_CLIENT_ID',
    summary: 'Client id at that provider. Needed with the issuer.',
    parse: asIs,
  },
  upstreamClientSecret: {
    name: 'MINTMARK_UPSTREAM_CLIENT_SECRET',
    summary: 'Client secret at that provider. Absent: a public client.',
    secret: true,
    parse: secretOf(1),
  },
  upstreamUsernameClaim: {
    name: 'MINTMARK_UPSTREAM_USERNAME_CLAIM',
    summary: 'Claim that names the user. An email must be verified.',
    fallback: 'email',
    parse: asIs,
  },
  upstreamReturnUrls: {
    name: 'MINTMARK_UPSTREAM_RETURN_URLS',
    summary:
      'Where a browser may be sent after sign-in, comma-separated: exact URLs, or prefixes that end in /.',
    fallback: '',
    parse: words,
  },
  upstreamRedirectUris: {
    name: 'MINTMARK_UPSTREAM_REDIRECT_URIS',
    summary: 'Redirect URIs of other applications that S7 POST /login may name, comma-separated.',
    fallback: '',
    parse: words,
  },
  revocationJournal: {
    name: 'MINTMARK_REVOCATION_JOURNAL',
    summary:
      'File to which whatever is revoked or taken away is appended, for `mintmark restore`; best on another disk than the database. Absent: revocations.log in the data directory. `none`: nothing is written.',
    parse: asIs,
  },
  refreshGraceSeconds: {
    name: 'MINTMARK_REFRESH_GRACE',
    summary:
      'Seconds during which an OAuth client that repeats a refresh gets the same new token again. With 0, every repetition revokes the grant.',
    fallback: '10',
    parse: wholeNumber(0, 60),
  },
  maxCachedTokens: {
    name: 'MINTMARK_MAX_CACHED_TOKENS',
    summary: 'How many tokens the verdict cache keeps.',
    fallback: '100000',
    parse: wholeNumber(100, 10_000_000),
  },
  drainSeconds: {
    name: 'MINTMARK_DRAIN_SECONDS',
    summary: 'How long a shutdown waits for requests under way.',
    fallback: '10',
    parse: wholeNumber(0, 600),
  },
  webhookAllow: {
    name: 'MINTMARK_WEBHOOK_ALLOW',
    summary:
      'Addresses or CIDR ranges, comma-separated, of private networks that webhooks may lead to. Public addresses are always allowed.',
    fallback: '',
    parse: (text) => addressRanges(text).map(asRange),
  },
  webhookHttp: {
    name: 'MINTMARK_WEBHOOK_HTTP',
    summary: 'Whether webhooks may be plain http URLs, whose messages anybody on the way can read.',
    fallback: 'false',
    parse: yesOrNo,
  },
  githubKeys: {
    name: 'MINTMARK_GITHUB_KEYS',
    summary:
      'Public keys of GitHub’s secret scanning, as JSON from https://api.github.com/meta/public_keys/secret_scanning; most easily as MINTMARK_GITHUB_KEYS_FILE. Absent: reports from GitHub are refused.',
    parse: readGithubKeys,
  },
} satisfies Record<string, Setting>

type Key = keyof typeof SETTINGS

export interface SettingHelp {
  name: string
  summary: string
  fallback: string | undefined
  secret: boolean
}

/** All settings in order, for `mintmark config` and the reference page. */
export function describeSettings(): SettingHelp[] {
  return Object.values(SETTINGS).map((setting: Setting) => ({
    name: setting.name,
    summary: setting.summary,
    fallback: setting.fallback,
    secret: setting.secret ?? false,
  }))
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
  const values: Parsed = {}
  for (const [key, setting] of Object.entries(SETTINGS) as [Key, Setting][]) {
    const text = textOf(setting, { env, readFile }, problems)
    if (text === undefined) continue
    try {
      values[key] = setting.parse(text)
    } catch (error) {
      problems.push(`${setting.name} ${(error as Error).message}`)
    }
  }
  problems.push(...unknownNames(env), ...crossChecks(values))
  if (problems.length > 0) throw new ConfigError(problems)
  return assemble(values)
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

function crossChecks(values: Parsed): string[] {
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
  if (typeof tlsCert === 'string' && tlsKey instanceof Secret) {
    try {
      createSecureContext({ cert: tlsCert, key: tlsKey.reveal() })
    } catch {
      problems.push(
        'MINTMARK_TLS_CERT and MINTMARK_TLS_KEY must be a certificate and its own private key, both in PEM.',
      )
    }
  }
  if (bootstrapPassword instanceof Secret) {
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

/** `values` were parsed by SETTINGS, which fixes each one's type. */
function assemble(values: Parsed): Config {
  const get = <T>(key: Key) => values[key] as T
  const tlsKey = get<Secret | undefined>('tlsKey')
  const tlsCert = get<string | undefined>('tlsCert')
  const host = get<string>('host')
  const port = get<number>('port')
  const dataDir = get<string>('dataDir')
  const scheme = tlsCert === undefined ? 'http' : 'https'
  const named = host === '0.0.0.0' || host === '::' ? 'localhost' : host
  const issuer = get<string | undefined>('upstreamIssuer')
  return {
    host,
    port,
    dataDir,
    database: databaseOf(get<DatabaseUrl | undefined>('databaseUrl'), {
      dataDir,
      pool: get<number>('databasePool'),
      pollMs: get<number>('pollMs'),
      waitMs: get<number>('databaseWaitMs'),
      notices: get<boolean>('databaseNotices'),
    }),
    publicUrl:
      get<string | undefined>('publicUrl') ??
      `${scheme}://${named.includes(':') ? `[${named}]` : named}:${port}`,
    masterKey: get<Secret | undefined>('masterKey'),
    newMasterKey: get<Secret | undefined>('newMasterKey'),
    bootstrap: {
      username: get<string>('bootstrapUsername'),
      password: get<Secret | undefined>('bootstrapPassword'),
      token: get<Secret | undefined>('bootstrapToken'),
    },
    logLevel: get<LogLevel>('logLevel'),
    tls:
      tlsCert === undefined || tlsKey === undefined
        ? undefined
        : { cert: tlsCert, key: tlsKey.reveal() },
    trustedProxies: get<string[]>('trustedProxies'),
    loginRateLimit: get<number>('loginRateLimit'),
    metricsPublic: get<boolean>('metricsPublic'),
    xmsQueryToken: get<boolean>('xmsQueryToken'),
    upstream:
      issuer === undefined
        ? undefined
        : {
            issuer,
            clientId: get<string>('upstreamClientId'),
            clientSecret: get<Secret | undefined>('upstreamClientSecret'),
            usernameClaim: get<string>('upstreamUsernameClaim'),
            returnUrls: get<string[]>('upstreamReturnUrls'),
            redirectUris: get<string[]>('upstreamRedirectUris'),
          },
    refreshGraceSeconds: get<number>('refreshGraceSeconds'),
    revocationJournal: journalOf(get<string | undefined>('revocationJournal'), dataDir),
    maxCachedTokens: get<number>('maxCachedTokens'),
    drainSeconds: get<number>('drainSeconds'),
    leaseMs: get<number>('leaseMs'),
    revokeWaitMs: get<number>('revokeWaitMs'),
    nodeAddress: get<string | undefined>('nodeAddress'),
    workers: get<number>('workers'),
    webhookAllow: get<string[]>('webhookAllow'),
    webhookHttp: get<boolean>('webhookHttp'),
    githubKeys: get<GithubKeys | undefined>('githubKeys'),
  }
}
