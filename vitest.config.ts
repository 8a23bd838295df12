import { defineConfig } from 'vitest/config'

/**
 * About the file that SQLite keeps, or about processes and command lines that have one: its locks, its
 * bytes after kill -9, a full disk under it, its turns in the event loop. What of this PostgreSQL has,
 * too, is in test/postgres.
 */
const ONLY_SQLITE = [
  'test/integration/{bursts,disk-full,durability,kill,shutdown,tls}.test.ts',
  'test/oauth/killed-under-load.test.ts',
  'test/e2e/**',
  'test/support/**',
]

/**
 * About what is read from a request and how an answer looks, which no query decides. They run on
 * PostgreSQL when that is asked for alone; otherwise SQLite is enough, and the suite ends in minutes.
 */
const ONLY_SHAPES = [
  'test/integration/{api-document,api-reference-page,lane,metrics,sdk,sdk-guards,sdk-types}.test.ts',
  'test/oauth/{claims,dpop,forged-access-tokens,forged-hints-and-assertions,forms}.test.ts',
  'test/oauth/{metadata,redirect-uri,safe-grants}.test.ts',
  'test/security/{browsers-get-nothing-to-keep,client-addresses-cannot-be-forged}.test.ts',
  'test/security/{content-types-are-not-guessed,http-framing-is-strict}.test.ts',
  'test/security/{malformed-credentials-fail-closed,routing-tricks-lead-nowhere}.test.ts',
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
      // Each answer is a few round trips to another process; some tests ask for thousands.
      testTimeout: 60_000,
    },
  },
]

export default defineConfig({
  test: {
    // Tests start servers, children and databases: a process each keeps them out of each other's way.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['src/**/*.test.ts', 'sdk/**/*.test.ts'] },
      },
      ...databases.filter(({ test }) => wanted.includes(test.name)),
    ],
  },
})
