import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'

/** Biome is silent about a plugin that it does not apply, so we make sure that ours bites. */
const root = join(import.meta.dirname, '../..')
const files = {
  'src/core/now.ts': 'export const x = Date.now()\n',
  'src/core/date.ts': 'export const x = new Date()\n',
  'src/core/dice.ts': 'export const x = Math.random()\n',
  'src/core/timer.ts': 'export const x = performance.now()\n',
  'src/core/given.ts': 'export const x = new Date(5)\n',
  'src/http/now.ts': 'export const x = Date.now()\n',
}
let folder: string
let complaints: string[]

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mintmark-lint-'))
  for (const path of ['biome.json', 'scripts/no-ambient-time.grit']) {
    cpSync(join(root, path), join(folder, path))
  }
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  const biome = join(root, 'node_modules/.bin/biome')
  const { stdout, stderr } = spawnSync(biome, ['lint', '--vcs-enabled=false', '.'], {
    cwd: folder,
    encoding: 'utf8',
  })
  complaints = [...(stdout + stderr).matchAll(/^(src\/\S+?):\S+ plugin /gm)].map((m) => m[1] ?? '')
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('core reads no clock and throws no dice; a given time and other layers are free', () => {
  expect(complaints.sort()).toEqual([
    'src/core/date.ts',
    'src/core/dice.ts',
    'src/core/now.ts',
    'src/core/timer.ts',
  ])
})
