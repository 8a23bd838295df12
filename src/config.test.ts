import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { selfSigned } from '../test/support/certificate.ts'
import { describeSettings } from './config/settings.ts'
import { type Config, ConfigError, readConfig } from './config.ts'

const SECRET = 'k3y-of-many-parts-and-then-some-more-9'

function read(
  env: Record<string, string | undefined> = {},
  files: Record<string, string> = {},
): Config {
  return readConfig({
    env,
    readFile(path) {
      const text = files[path]
      if (text === undefined) throw new Error(`no such file: ${path}`)
      return text
    },
  })
}

function problemsOf(env: Record<string, string>, files: Record<string, string> = {}): string[] {
  try {
    read(env, files)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('without any setting', () => {
  it('everything has a default', () => {
    expect(read()).toEqual({
      host: '127.0.0.1',
      port: 8080,
      dataDir: './data',
      database: { kind: 'sqlite', file: './data/mintmark.db' },
      publicUrl: 'http://127.0.0.1:8080',
      masterKey: undefined,
      newMasterKey: undefined,
      bootstrap: { username: 'admin', password: undefined, token: undefined },
      logLevel: 'info',
      tls: undefined,
      trustedProxies: [],
      loginRateLimit: 60,
      metricsPublic: true,
      xmsQueryToken: true,
      upstream: undefined,
      refreshGraceSeconds: 10,
      maxCachedTokens: 100_000,
      revocationJournal: './data/revocations.log',
      webhookAllow: [],
      webhookHttp: false,
      githubKeys: undefined,
      shedAfterMs: 150,
      maxRequests: 1000,
      maxConnections: 5000,
      drainSeconds: 10,
      leaseMs: 5000,
      revokeWaitMs: 2000,
      nodeAddress: undefined,
      workers: 1,
    } satisfies Config)
  })

  it('empty means absent, as an unset variable of a compose file is', () => {
    expect(read({ MINTMARK_PORT: '', MINTMARK_MASTER_KEY: '' })).toEqual(read())
  })

  it('other programs’ variables are none of ours', () => {
    expect(read({ PATH: '/bin', PORT: '1', MINTMARK: 'x', MINTMARK_TEST_SEED: '1' })).toEqual(
      read(),
    )
  })

  it('what the help calls the default is the default', () => {
    for (const { name, fallback } of describeSettings()) {
      if (fallback !== undefined) expect(read({ [name]: fallback }), name).toEqual(read())
    }
  })
})

describe('a setting', () => {
  it('may be given in a file, whose last line break does not count', () => {
    for (const end of ['', '\n', '\r\n']) {
      const config = read({ MINTMARK_MASTER_KEY_FILE: '/key' }, { '/key': SECRET + end })
      expect(config.masterKey?.reveal()).toBe(SECRET)
    }
    expect(read({ MINTMARK_PORT_FILE: '/port' }, { '/port': '9000\n' }).port).toBe(9000)
  })

  it('keeps every other character of its file', () => {
    const config = read({ MINTMARK_MASTER_KEY_FILE: '/key' }, { '/key': ` ${SECRET} \n\n` })
    expect(config.masterKey?.reveal()).toBe(` ${SECRET} \n`)
  })

  it('may not be given twice', () => {
    const env = { MINTMARK_PORT: '1', MINTMARK_PORT_FILE: '/port' }
    expect(problemsOf(env, { '/port': '1' })).toEqual([
      'MINTMARK_PORT and MINTMARK_PORT_FILE are both set. Set one of them.',
    ])
  })

  it('in a file that cannot be read is a problem, not a default', () => {
    expect(problemsOf({ MINTMARK_MASTER_KEY_FILE: '/nowhere' })).toEqual([
      expect.stringMatching(/^MINTMARK_MASTER_KEY_FILE cannot be read: .*\/nowhere/),
    ])
  })

  it('that nobody knows is a problem, for it may be a slip of the pen', () => {
    expect(problemsOf({ MINTMARK_PROT: '1' })).toEqual([
      'MINTMARK_PROT is not a setting. `mintmark config` lists them all.',
    ])
    expect(problemsOf({ MINTMARK_PROT_FILE: '/x' })).toHaveLength(1)
    expect(problemsOf({ MINTMARK_URL: 'http://x', MINTMARK_TOKEN: 't' })).toEqual([])
  })
})

describe('problems', () => {
  it('are told all at once, in sentences', () => {
    const problems = problemsOf({
      MINTMARK_PORT: '70000',
      MINTMARK_LOG_LEVEL: 'loud',
      MINTMARK_MASTER_KEY: 'short',
      MINTMARK_DATABASE_URL: 'mysql://x',
      MINTMARK_PUBLIC_URL: 'ftp://x',
      MINTMARK_XMS_QUERY_TOKEN: 'yes',
      MINTMARK_TRUSTED_PROXIES: '10.0.0.0/8, proxy.local',
      MINTMARK_TLS_CERT: 'pem',
      MINTMARK_UPSTREAM_ISSUER: 'https://id.example',
      MINTMARK_TYPO: '1',
    })
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual([
      'MINTMARK_PORT',
      'MINTMARK_DATABASE_URL',
      'MINTMARK_PUBLIC_URL',
      'MINTMARK_MASTER_KEY',
      'MINTMARK_LOG_LEVEL',
      'MINTMARK_TRUSTED_PROXIES',
      'MINTMARK_XMS_QUERY_TOKEN',
      'MINTMARK_TYPO',
      'MINTMARK_TLS_CERT',
      'MINTMARK_UPSTREAM_ISSUER',
    ])
    for (const problem of problems) expect(problem).toMatch(/\.$/)
  })

  it('never repeat a secret', () => {
    const problems = problemsOf({
      MINTMARK_MASTER_KEY: 'too-short-master',
      MINTMARK_BOOTSTRAP_PASSWORD: 'too-short-pass',
      MINTMARK_BOOTSTRAP_TOKEN: 'too-short-token',
    })
    expect(problems).toHaveLength(3)
    expect(problems.join()).not.toContain('too-short')
  })

  it.each(['', ' 80', '8e1', '0x50', '-1', '65536', '80.0', '１２', 'NaN', '9'.repeat(40)])(
    'include the port "%s"',
    (port) => {
      const problems = problemsOf({ MINTMARK_PORT: port })
      expect(problems).toHaveLength(port === '' ? 0 : 1)
    },
  )
})

describe('secrets', () => {
  it('print as [secret], wherever the configuration is printed', () => {
    const config = read({
      MINTMARK_MASTER_KEY: SECRET,
      MINTMARK_BOOTSTRAP_PASSWORD: SECRET,
      MINTMARK_BOOTSTRAP_TOKEN: SECRET,
      MINTMARK_UPSTREAM_ISSUER: 'https://id.example',
      MINTMARK_UPSTREAM_CLIENT_ID: 'mintmark',
      MINTMARK_UPSTREAM_CLIENT_SECRET: SECRET,
    })
    for (const text of [JSON.stringify(config), inspect(config, { depth: 9 })]) {
      expect(text).not.toContain(SECRET)
      expect(text.match(/\[secret\]/g)).toHaveLength(4)
    }
    expect(config.bootstrap.token?.reveal()).toBe(SECRET)
  })

  it('are marked as such in the help', () => {
    const secret = describeSettings().filter((setting) => setting.secret)
    expect(secret.map(({ name }) => name)).toEqual([
      'MINTMARK_DATABASE_URL',
      'MINTMARK_MASTER_KEY',
      'MINTMARK_NEW_MASTER_KEY',
      'MINTMARK_BOOTSTRAP_PASSWORD',
      'MINTMARK_BOOTSTRAP_TOKEN',
      'MINTMARK_TLS_KEY',
      'MINTMARK_UPSTREAM_CLIENT_SECRET',
    ])
  })
})

describe('a certificate', () => {
  it.each([
    ['that is none', () => ({ cert: 'pem', key: 'pem' })],
    ['with the key of another', () => ({ cert: selfSigned().cert, key: selfSigned().key })],
  ])('%s is said so before anything starts', (_, make) => {
    const { cert, key } = make()
    const problems = problemsOf({ MINTMARK_TLS_CERT: cert, MINTMARK_TLS_KEY: key })
    expect(problems).toEqual([expect.stringContaining('a certificate and its own private key')])
  })
})

describe('what is derived', () => {
  it('is the public URL, from scheme, host and port', () => {
    const url = (env: Record<string, string>) => read(env).publicUrl
    expect(url({ MINTMARK_HOST: '0.0.0.0' })).toBe('http://localhost:8080')
    expect(url({ MINTMARK_HOST: '::' })).toBe('http://localhost:8080')
    expect(url({ MINTMARK_HOST: '::1', MINTMARK_PORT: '1' })).toBe('http://[::1]:1')
    const { cert, key } = selfSigned()
    expect(url({ MINTMARK_TLS_CERT: cert, MINTMARK_TLS_KEY: key })).toBe('https://127.0.0.1:8080')
    expect(url({ MINTMARK_PUBLIC_URL: 'https://mint.example/' })).toBe('https://mint.example')
  })

  it.each([
    ['sqlite:/var/lib/x.db', '/var/lib/x.db'],
    ['sqlite:///var/lib/x.db', '/var/lib/x.db'],
    ['sqlite:x.db', 'x.db'],
  ])('is the database file, from %s', (url, file) => {
    expect(read({ MINTMARK_DATABASE_URL: url }).database).toEqual({ kind: 'sqlite', file })
  })

  it('is a PostgreSQL server with its limits, and never shows the password', () => {
    const env = {
      MINTMARK_DATABASE_URL: 'postgresql://mint:pa%20ss@db.example.com/tokens?sslmode=require',
      MINTMARK_DATABASE_POOL: '5',
      MINTMARK_DATABASE_WAIT_MS: '700',
      MINTMARK_POLL_MS: '50',
    }
    const { database } = read(env)
    expect(database).toMatchObject({ kind: 'postgres', pool: 5, pollMs: 50, waitMs: 700 })
    // Encrypting without knowing to whom would protect nothing.
    expect(database.kind === 'postgres' && database.url.reveal()).toBe(
      'postgresql://mint:pa%20ss@db.example.com/tokens?sslmode=verify-full',
    )
    expect(JSON.stringify(database) + String(database)).not.toContain('pa%20ss')
  })

  it.each([
    'mysql://mint:hidden@db.example.com/x',
    'postgres://mint:hid:den@:x/',
    'postgres://mint:hidden@db.example.com',
    'postgres://mint:hidden@db.example.com/x?sslmode=prefer',
    'postgres://mint:hid/den@db.example.com/x',
  ])('is refused without being repeated, such as %s', (url) => {
    const problems = problemsOf({ MINTMARK_DATABASE_URL: url })
    expect(problems).toHaveLength(1)
    expect(problems.join()).not.toMatch(/hid/)
  })

  it('is the upstream issuer, to the letter', () => {
    const issuer = 'https://id.example/application/o/mintmark/'
    const env = { MINTMARK_UPSTREAM_ISSUER: issuer, MINTMARK_UPSTREAM_CLIENT_ID: 'mintmark' }
    expect(read(env).upstream?.issuer).toBe(issuer)
  })

  it('are lists, without the blanks', () => {
    const config = read({ MINTMARK_TRUSTED_PROXIES: ' 10.0.0.1 ,, 2001:db8::/32,' })
    expect(config.trustedProxies).toEqual(['10.0.0.1', '2001:db8::/32'])
  })
})
