/**
 * Builds the package @mintmark/sdk as it is published, into a folder of its own (default: sdk/dist), for
 * `npm publish ./sdk/dist`. In this repository the SDK is imported from its TypeScript sources, which
 * Node runs as they are, but not below node_modules: there it takes JavaScript.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = join(import.meta.dirname, '..')
const sdk = join(root, 'sdk')
const folder = resolve(process.argv[2] ?? join(sdk, 'dist'))

rmSync(folder, { recursive: true, force: true })
const { status } = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/typescript/bin/tsc'),
    ...['--project', join(sdk, 'tsconfig.build.json'), '--outDir', folder],
  ],
  { stdio: 'inherit' },
)
if (status !== 0) process.exit(status ?? 1)

const manifest = JSON.parse(readFileSync(join(sdk, 'package.json'), 'utf8')) as {
  private?: boolean
  scripts?: object
  exports: Record<string, string>
}
const { private: _, scripts: __, exports, ...facts } = manifest
const built = Object.entries(exports).map(([entry, source]) => {
  const name = source.replace(/^\.\/src\/(.+)\.ts$/, './$1')
  return [entry, { types: `${name}.d.ts`, default: `${name}.js` }]
})
writeFileSync(
  join(folder, 'package.json'),
  `${JSON.stringify({ ...facts, exports: Object.fromEntries(built) }, undefined, 2)}\n`,
)
copyFileSync(join(sdk, 'README.md'), join(folder, 'README.md'))
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
