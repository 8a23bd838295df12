import { defineConfig } from 'vitest/config'

/**
 * About the file that SQLite keeps, or about processes and command lines that have one: its locks, its
 * bytes after kill -9, a full disk under it, its turns in the event loop. What of this PostgreSQL has,
 * too, is in test/postgres.
 */
const ONLY_SQLITE = [
  'test/integration/{bursts,disk-full,durability,kill,last-resort,shutdown,tls}.test.ts',
  'test/oauth/killed-under-load.test.ts',
  'test/e2e/**',
  'test/support/**',
]

/**
 * About what is read from a request and how an answer looks, which no query decides. They run on
 * PostgreSQL when that is asked for alone (`DATABASES=postgres npm test`); otherwise SQLite is enough,
 * and the suite ends in minutes.
 */
const ONLY_SHAPES = [
  'test/integration/{api-document,api-reference-page,direct,lane,metrics,sdk,sdk-guards,sdk-types}.test.ts',
  'test/dialects/**',
  'test/oauth/{account-page,authentik-walk,authorization,claims,client-authentication,code-flow}.test.ts',
  'test/oauth/{dpop,explained-access-tokens,forged-access-tokens,forged-hints-and-assertions}.test.ts',
  'test/oauth/{forms,guard-rails,in-the-middle,logout,metadata,pushed-requests,redirect-uri}.test.ts',
  'test/oauth/{resources,safe-grants,scopes-never-widen}.test.ts',
  'test/security/!(changes-of*|nobody-mints*|objects-of-others*|odd-text*).test.ts',
]

/** The databases that the suite runs on: `DATABASES=sqlite npm test` for one of them. */
const wanted = (process.env.DATABASES ?? 'sqlite,postgres').split(',')

const integration = 'test/**/*.test.ts'
const hard = 'test/hard/**'

const databases = [
  {
    extends: true as const,
    test: {
      name: 'sqlite',
      include: [integration],
      exclude: [hard, 'test/postgres/**'],
      env: { MINTMARK_TEST_DATABASE: 'sqlite' },
    },
  },
  {
    extends: true as const,
    test: {
      name: 'postgres',
      include: [integration],
      exclude: [hard, ...ONLY_SQLITE, ...(wanted.length > 1 ? ONLY_SHAPES : [])],
      env: { MINTMARK_TEST_DATABASE: 'postgres' },
      globalSetup: './test/support/postgres-server.ts',
    },
  },
]

export default defineConfig({
  test: {
    // Tests start servers, children and databases: a process each keeps them out of each other's way.
    pool: 'forks',
    maxWorkers: 2,
    // Far above what any test takes, for machines that do other things besides.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['src/**/*.test.ts', 'sdk/**/*.test.ts'] },
      },
      ...databases.filter(({ test }) => wanted.includes(test.name)),
    ],
  },
})
