import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'

// The SDK as others get it: packed, installed below node_modules, where Node runs no TypeScript.

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'mintmark-sdk-'))
const built = join(folder, 'built')
const project = join(folder, 'project')
const source: { exports: Record<string, string> } = JSON.parse(
  readFileSync(join(root, 'sdk/package.json'), 'utf8'),
)
const entries = Object.keys(source.exports).map((entry) => `@mintmark/sdk${entry.slice(1)}`)
let packed: string[]

beforeAll(async () => {
  await run(process.execPath, [join(root, 'scripts/build-sdk.ts'), built])
  const { stdout } = await run('npm', ['pack', built, '--json', '--pack-destination', folder])
  const [{ filename, files }] = JSON.parse(stdout)
  packed = files.map(({ path }: { path: string }) => path)
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  const install = ['install', join(folder, filename), '--offline', '--no-audit', '--no-fund']
  await run('npm', install, { cwd: project })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('holds JavaScript, types, README and licence, and no sources or tests', () => {
  expect(packed).toEqual(expect.arrayContaining(['index.js', 'index.d.ts', 'README.md', 'LICENSE']))
  expect(packed.filter((path) => /\.test\.|(?<!\.d)\.ts$/.test(path))).toEqual([])
})

it('gives plain Node every entry point', async () => {
  const lines = entries.map((entry, i) => `import * as entry${i} from '${entry}'`)
  const names = `[${entries.map((_, i) => `Object.keys(entry${i})`)}]`
  writeFileSync(
    join(project, 'main.js'),
    [
      ...lines,
      `const found = ${names}`,
      "const client = entry0.createClient({ url: 'http://127.0.0.1:9', token: 'abc' })",
      'found.push(Object.keys(client), entry0.secretKind("nothing") ?? null)',
      'console.log(JSON.stringify(found))',
    ].join('\n'),
  )
  // As anybody starts it: nothing of this test run may help.
  const { stdout, stderr } = await run(process.execPath, ['main.js'], {
    cwd: project,
    env: { PATH: process.env.PATH },
  })
  expect(stderr).toBe('')
  const found: unknown[] = JSON.parse(stdout)
  expect(found[0]).toEqual(
    expect.arrayContaining(['createClient', 'cachedVerifier', 'offlineVerifier', 'MintmarkError']),
  )
  expect(found.slice(1, entries.length).every((names) => String(names).includes('guard'))).toBe(
    true,
  )
  expect(found.slice(entries.length)).toEqual([expect.arrayContaining(['tokens', 'users']), null])
})

it('gives TypeScript the types of every entry point', async () => {
  writeFileSync(
    join(project, 'main.ts'),
    [
      ...entries.map((entry, i) => `import * as entry${i} from '${entry}'`),
      "const client: entry0.Client = entry0.createClient({ url: 'http://127.0.0.1:9' })",
      "export const made: Promise<entry0.IssuedToken> = client.tokens.create({ name: 'ci' })",
      '// @ts-expect-error A number is no name.',
      'client.tokens.create({ name: 1 })',
      `export const guards = [${entries.slice(1).map((_, i) => `entry${i + 1}.guard`)}]`,
    ].join('\n'),
  )
  const options = [
    ...['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024'],
    ...['--lib', 'es2024,dom', '--exactOptionalPropertyTypes', 'main.ts'],
  ]
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, ...options], { cwd: project }).catch(
    (error) => error,
  )
  expect(stdout).toBe('')
})
