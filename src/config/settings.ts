import { readGithubKeys } from '../core/leaks/github.ts'
import {
  addressRanges,
  asIs,
  asRange,
  chosenSecret,
  databaseUrl,
  issuerUrl,
  oneOf,
  publicUrl,
  secondsToMs,
  secretOf,
  username,
  wholeNumber,
  words,
  workers,
  yesOrNo,
} from './values.ts'

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface Setting {
  name: string
  summary: string
  /** As `mintmark config` shows it. */
  fallback?: string
  secret?: boolean
  /** Returns the value or throws an Error whose message is a sentence. */
  parse: (text: string) => unknown
}

/** Every setting there is; `mintmark config` and docs/reference/config.md are printed from it. */
export const SETTINGS = {
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
  shedAfterMs: {
    name: 'MINTMARK_SHED_AFTER_MS',
    summary:
      'How long, in milliseconds, requests may wait for a process that cannot keep up before it answers 503 to lists, exports and logins; other changes may wait twice, all else four times as long. Revocations, probes and figures are never refused.',
    fallback: '150',
    parse: wholeNumber(10, 10_000),
  },
  maxRequests: {
    name: 'MINTMARK_MAX_REQUESTS',
    summary:
      'Requests under way at a time, per process; changes may be half of them, lists, exports and logins a quarter. Others are answered 503, except revocations, probes and figures.',
    fallback: '1000',
    parse: wholeNumber(4, 1_000_000),
  },
  maxConnections: {
    name: 'MINTMARK_MAX_CONNECTIONS',
    summary:
      'Connections open at a time, per process. Beyond them answers end their connection, and only revocations, probes and figures are answered; a hundred more, and new ones are dropped.',
    fallback: '5000',
    parse: wholeNumber(10, 1_000_000),
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
    parse: (text: string) => addressRanges(text).map(asRange),
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

type Settings = typeof SETTINGS
export type Key = keyof Settings

/** What a setting comes to; undefined only where nothing is fallen back on. */
type Value<K extends Key> =
  | ReturnType<Settings[K]['parse']>
  | (Settings[K] extends { fallback: string } ? never : undefined)

export type Values = { [K in Key]: Value<K> }

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
