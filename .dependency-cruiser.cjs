// Dependencies point inward: main, cli → app → http, dialects, oauth → core ← store.

const test = '\\.test\\.ts$'
const npm = (...names) => `node_modules/(${names.join('|')})/`

/** A layer may import itself, the listed paths, and nothing else. */
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: test },
  to: { pathNot: allowed },
})

/** A layer must not import the listed paths. */
const never = (name, from, to, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: test },
  to: { path: to },
})

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    only(
      'core-is-pure',
      '^src/core/',
      ['^src/core/', '^(node:)?(crypto|zlib|net)$', npm('uuid')],
      'Core is the domain: it knows no HTTP, no SQL, no environment and no clock of its own.',
    ),
    only(
      'store-is-only-sql',
      '^src/store/',
      [
        '^src/(store|core)/',
        '^(node:)?(sqlite|fs|fs/promises|path|url|util|events|crypto|timers/promises|worker_threads)$',
        npm('kysely', 'pg', '@types/pg'),
      ],
      'The store implements the ports of core with Kysely on SQLite and PostgreSQL, and does no more.',
    ),
    never(
      'sql-only-in-store',
      '^src/(?!store/)',
      ['^(node:)?sqlite$', npm('kysely', 'pg', '@types/pg')],
      'The store is the only place that speaks SQL.',
    ),
    never(
      'store-only-by-app',
      '^src/(?!store/|app\\.ts$)',
      '^src/store/',
      'Only app.ts knows both sides: everybody else holds the core object it is given.',
    ),
    never(
      'http-is-below-the-dialects',
      '^src/http/',
      '^src/(dialects|oauth|cli|app\\.ts|main\\.ts)',
      'The HTTP kit serves the dialects and must not know them.',
    ),
    never(
      'dialects-are-thin',
      '^src/dialects/',
      '^src/(?!core/|http/|dialects/)',
      "A dialect is a mapping over core with the HTTP kit's authentication and errors, nothing more.",
    ),
    {
      name: 'dialects-stand-alone',
      comment: 'No dialect imports another: deleting its folder and a line of app.ts removes it.',
      severity: 'error',
      from: { path: '^src/dialects/([^/]+)/' },
      to: { path: '^src/dialects/', pathNot: '^src/dialects/$1/' },
    },
    never(
      'oauth-is-wired-by-app',
      '^src/oauth/',
      '^src/(?!core/|http/|oauth/)',
      'The OAuth2 engine declares the store it needs; app.ts hands one in.',
    ),
    never(
      'config-is-a-leaf',
      '^src/config(\\.ts$|/)',
      '^src/(?!core/|config/)',
      'Configuration is read before anything else exists.',
    ),
    never(
      'cli-speaks-the-api',
      '^src/cli/',
      '^src/(core|store|http|dialects|oauth)/',
      'Commands go through the SDK; offline administration goes through app.ts.',
    ),
    never(
      'nobody-imports-the-entries',
      '^src/(?!cli/)',
      '^src/(cli/|main\\.ts$)',
      'The process and the command line are outermost.',
    ),
    never(
      'app-only-by-the-entries',
      '^src/(?!cli/|main\\.ts$)',
      '^src/app\\.ts$',
      'The wiring is used by the entries and by tests, never from inside.',
    ),
    only(
      'sdk-has-no-dependencies',
      '^sdk/src/',
      '^sdk/src/',
      'The SDK runs wherever fetch does: it imports neither packages nor the server.',
    ),
    {
      name: 'no-cycles',
      comment: 'A cycle cannot be read from either end. Move what both sides need to a third file.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-orphans',
      comment: 'Nothing imports this module and it imports nothing: use it or delete it.',
      severity: 'error',
      from: { orphan: true, path: '^(src|sdk|bench)/', pathNot: [test, '\\.d\\.ts$'] },
      to: {},
    },
    {
      name: 'no-tests-in-production',
      comment: 'What ships must run without tests, benchmarks and scripts.',
      severity: 'error',
      from: { path: '^(src|sdk)/', pathNot: test },
      to: { path: [test, '^(test|bench|scripts)/'] },
    },
    {
      name: 'no-dev-dependencies-in-production',
      comment: 'The published package is installed without development dependencies.',
      severity: 'error',
      from: { path: '^(src|sdk)/', pathNot: test },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'declared-dependencies-only',
      comment: 'Import what package.json declares, not what happens to be installed.',
      severity: 'error',
      from: { path: '^(src|sdk|test|bench|scripts)/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'resolvable-only',
      comment: 'This import leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // The peers of the benchmark bring their own packages.
    exclude: { path: '^(sdk/)?dist/|^bench/(peers|node_modules)/' },
    // Types count: a layer that only borrows a type still depends on its owner.
    tsPreCompilationDeps: true,
    combinedDependencies: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.d.ts'],
    },
  },
}
