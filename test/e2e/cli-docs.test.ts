import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { mintmark } from '../support/cli.ts'

const reference = join(import.meta.dirname, '../../docs/reference')

it.each([
  { page: 'cli.md', args: ['help-markdown'], script: 'docs:cli' },
  { page: 'config.md', args: ['config', '--markdown'], script: 'docs:config' },
])('docs/reference/$page is what `npm run $script` prints', async ({ page, args, script }) => {
  const { stdout } = await mintmark(args)
  const kept = readFileSync(join(reference, page), 'utf8')
  expect(kept === stdout, `Out of date. Run: npm run ${script}`).toBe(true)
})
