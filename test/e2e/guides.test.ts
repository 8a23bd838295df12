import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Client, createClient } from '@mintmark/sdk'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { COMPILE_CACHE } from '../support/cli.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const ENTRY = fileURLToPath(new URL('../../bin/mintmark.mjs', import.meta.url))
const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-guides-'))
const token = randomBytes(30).toString('base64url')
let server: ServerProcess
let admin: Client

beforeAll(async () => {
  server = await startProcess({
    dataDir,
    env: { MINTMARK_BOOTSTRAP_TOKEN: token, NODE_COMPILE_CACHE: COMPILE_CACHE },
  })
  admin = createClient({ url: server.url, token })
}, 60_000)
afterAll(async () => {
  await server.end('SIGTERM')
  rmSync(dataDir, { recursive: true, force: true })
})

/** The command lines of a guide, from the block with the first of them on. */
function linesOf(guide: string): string[] {
  const page = readFileSync(new URL(`../../docs/guide/${guide}.md`, import.meta.url), 'utf8')
  return [...page.matchAll(/```sh\n(.*?)```/gs)]
    .flatMap(([, block = '']) => block.replaceAll('\\\n', ' ').trim().split('\n'))
    .filter((line) => line !== '' && !line.startsWith('#'))
}

/** Types the lines into one shell, as a reader would, and returns those that ended with another status than 0. */
async function failuresOf(lines: readonly string[], placeholders: Record<string, string> = {}) {
  const directory = temporaryDirectory()
  const statuses = join(directory, 'statuses')
  const filled = lines.map((line) =>
    Object.entries(placeholders).reduce(
      (text, [name, value]) => text.replaceAll(name, value),
      line,
    ),
  )
  const script = join(directory, 'guide.sh')
  const mintmark = `mintmark() { '${process.execPath}' '${ENTRY}' "$@"; }`
  const typed = filled.flatMap((line) => [line, `echo $? >> '${statuses}'`])
  writeFileSync(script, [mintmark, ...typed].join('\n'))
  const child = spawn('bash', [script], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      MINTMARK_URL: server.url,
      MINTMARK_TOKEN: token,
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  await new Promise((resolve) => child.on('close', resolve))
  const ended = readFileSync(statuses, 'utf8').trim().split('\n')
  expect(ended, output).toHaveLength(lines.length)
  return { failures: lines.filter((_, i) => ended[i] !== '0'), output }
}

it('the guide that one begins with works as it is printed', async () => {
  const { id } = await admin.tokens.create({ name: 'looked into' })
  // Some lines are for a terminal, and one is a request with a secret that nobody has.
  const isForPeople = /^(alias|source|export MINTMARK_TOKEN)|token explain --scope|^curl /
  const lines = linesOf('getting-started').filter((line) => !isForPeople.test(line))
  expect(lines.length).toBeGreaterThan(12)
  const { failures, output } = await failuresOf(lines, { '<id>': id })
  // The token carries no group.
  expect(failures, output).toEqual(['mintmark token explain --id <id> --group ops:WRITE'])
  const [made] = (await admin.tokens.list({ q: 'owner:alice' })).items
  expect(made).toMatchObject({ name: 'staging-deploy', roles: ['deployer'] })
}, 60_000)

it('the guide to delegation works as it is printed', async () => {
  const isRevocation = (line: string) => line.startsWith('mintmark token revoke')
  const lines = linesOf('delegation')
  expect(lines.length).toBeGreaterThan(10)
  // The second half of the page goes on with the token that the first half revokes in the end.
  const inOrder = [...lines.filter((line) => !isRevocation(line)), ...lines.filter(isRevocation)]
  const { failures, output } = await failuresOf(inOrder, {
    "<id of the pipeline's token>": 'self',
  })
  expect(failures, output).toEqual([
    expect.stringContaining('role create deployer'),
    'mintmark token child greedy --scope admin:everything',
    'mintmark token verify --env JOB_TOKEN --scope deploy:production    # not active',
  ])
  expect(output).toContain('The owner does not hold the scope "admin:everything". Grant it first.')
  expect(output).toMatch(/\npipeline {2}\S+ {2}FULL_ACCESS .*\n└─ job-4711 {2}/)
  const { items } = await admin.tokens.list({ q: 'owner:pipeline state:active' })
  expect(items).toEqual([])
}, 60_000)

it('the guide to rotation works as it is printed', async () => {
  const { id: alone } = await admin.tokens.create({ name: 'rotated twice' })
  const { id } = await admin.tokens.create({ name: 'rotated' })
  // It shows two ways to begin: the second one needs a token of its own.
  const lines = linesOf('rotation')
    .filter((line) => !line.startsWith('mintmark token use'))
    .map((line) => (line.includes('--overlap 7d') ? line.replace('<id>', alone) : line))
  const { failures, output } = await failuresOf(lines, { '<id>': id })
  expect(failures, output).toEqual([])
  expect((await admin.tokens.get(id)).state).toBe('superseded')
}, 60_000)

it('the guide to the policy works as it is printed', async () => {
  const { failures, output } = await failuresOf(linesOf('policy'))
  expect(failures, output).toEqual([])
  expect(output).toContain('active tokens were looked at.')
  const { tokenRules } = await admin.policy.get()
  expect(tokenRules.map(({ name }) => name)).toEqual(['ci', 'office'])
}, 60_000)
