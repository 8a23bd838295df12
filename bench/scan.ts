/**
 * `npm run bench:scan`: how many megabytes a second `mintmark scan` reads, as one process from start
 * to end, on texts of several kinds with a secret here and there.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeSecret } from '../src/core/secret.ts'
import { machine } from './report.ts'

const ENTRY = fileURLToPath(new URL('../bin/mintmark.mjs', import.meta.url))
const PIECE_BYTES = 1 << 20
const SECRETS = 16

const { values: flags } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '1000' },
    runs: { type: 'string', default: '5' },
  },
})

/** What a line of each kind of text is. */
const TEXTS: Record<string, () => string> = {
  'log lines': () =>
    `${new Date(0).toISOString()} info request ${randomBytes(8).toString('hex')} GET /api/v1/tokens 200 in 3 ms\n`,
  prose: () =>
    'Common comments summon many more memories than the dim summer months seem to permit.\n',
  'source code': () =>
    '  const summary = items.map((item) => item.name ?? mm_of(item)).join(", ")\n',
  base64: () => `${randomBytes(57).toString('base64')}\n`,
  'one long line': () => randomBytes(57).toString('base64'),
}

const directory = mkdtempSync(join(tmpdir(), 'mintmark-bench-'))
try {
  process.stdout.write(
    `${JSON.stringify(machine())}\n\n| text | also | MB/s (best of ${flags.runs}) |\n`,
  )
  process.stdout.write('| --- | --- | ---: |\n')
  for (const [name, line] of Object.entries(TEXTS)) {
    const file = write(line, Number(flags.megabytes) * 1e6)
    for (const also of [[], ['--also', 'hex,uuid']]) {
      const speeds = Array.from({ length: Number(flags.runs) }, () => measure(file, also))
      process.stdout.write(`| ${name} | ${also[1] ?? ''} | ${Math.max(...speeds).toFixed(0)} |\n`)
    }
    rmSync(file)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** A file of so many bytes with some secrets in it. */
function write(line: () => string, bytes: number): string {
  const path = join(directory, 'text')
  const file = openSync(path, 'w')
  const piece = Buffer.from(Array.from({ length: 20_000 }, line).join('')).subarray(0, PIECE_BYTES)
  const pieces = Math.ceil(bytes / piece.length)
  for (let i = 0; i < pieces; i++) {
    writeSync(file, piece)
    const isTurn = i % Math.ceil(pieces / SECRETS) === 0
    if (isTurn) writeSync(file, `${makeSecret('mintmark', 'api', randomBytes)}\n`)
  }
  closeSync(file)
  return path
}

/** Megabytes a second, the start of the process included. */
function measure(file: string, also: readonly string[]): number {
  const startedAtMs = performance.now()
  const { stdout, status } = spawnSync(process.execPath, [ENTRY, 'scan', file, '--json', ...also])
  const seconds = (performance.now() - startedAtMs) / 1000
  const { findings, scanned } = JSON.parse(String(stdout))
  const ours = findings.filter(({ kind }: { kind: string }) => kind === 'api').length
  if (status !== 1 || ours < SECRETS / 2)
    throw new Error(`${ours} secrets found, status ${status}.`)
  return scanned.bytes / 1e6 / seconds
}
