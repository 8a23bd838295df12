import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import type { ImportRow, ImportRowVerdict } from '@mintmark/sdk'
import type { Command } from 'commander'
import { createBar } from '../bar.ts'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { CliError, REFUSED } from '../failure.ts'
import { FIELD_NAMES, linesOf, mappingOf } from '../import/rows.ts'
import { answer, type JsonOption, tableOr } from '../output.ts'
import { note, type Terminal } from '../terminal.ts'
import { oneOf } from '../values.ts'

const BATCH = 200
const SHOWN_REASONS = 20
const formatOf = oneOf(['csv', 'jsonl'] as const)
const ownerKindOf = oneOf(['service', 'person', 'user'] as const)

interface ImportOptions extends JsonOption {
  format?: 'csv' | 'jsonl'
  dryRun?: boolean
  map?: string
  id?: string
  createOwners?: 'service' | 'person' | 'user'
  createGroups?: boolean
  report?: string
}

export function importCommand(program: Command, terminal: Terminal): void {
  leaf(program, 'import', {
    summary: 'Take over tokens of another system, with their secrets or hashes',
    details: `The file is CSV with a header, or a JSON object per line, with: ${FIELD_NAMES}. A row has secret; or hash with algorithm (sha256-hex, sha256-base64, bcrypt, argon2) and, for the last two, lookup: the first 6 or more characters of the secret. Lists are words between spaces, groups like builders:WRITE, * is all that the owner has. Their holders go on using them; at its first use each is kept as all others are. No token gets more than its owner holds and the policy allows. Interrupted, run it again: what is done stays done, and the same file twice makes nothing twice. Ends with status 1 when rows were refused.`,
    examples: [
      'mintmark import tokens.csv --dry-run --report report.csv',
      'mintmark import tokens.csv --create-owners service --create-groups',
      "mintmark import old.jsonl --map 'name=label,owner=user_name,hash=token_hash'",
      'psql -At -c "select row_to_json(t) from tokens t" | mintmark import - --format jsonl --id legacy',
    ],
  })
    .argument('<file>', 'a file, or - for stdin')
    .option('--format <format>', 'csv or jsonl (default: by the name of the file)', formatOf)
    .option('--dry-run', 'only say what would be done with each row')
    .option('--map <pairs>', 'our columns by the names that the file has for them')
    .option('--id <name>', 'names the import, to go on with it (default: made from the content)')
    .option('--create-owners <kind>', 'make owners that are missing: service or user', ownerKindOf)
    .option('--create-groups', 'make groups that are missing')
    .option('--report <file>', 'write the verdict on each row there, as .csv, or JSON lines')
    .action(async (file: string, options: ImportOptions) => {
      const client = connect(terminal)
      const text = file === '-' ? await everything(terminal) : contentOf(file)
      const format = options.format ?? (file.endsWith('.csv') ? 'csv' : 'jsonl')
      const lines = linesOf(text, { format, mapping: mappingOrNone(options.map) })
      const importId = options.id ?? createHash('sha256').update(text).digest('hex').slice(0, 32)
      const { createOwners } = options
      const common = {
        importId,
        dryRun: options.dryRun === true,
        createGroups: options.createGroups === true,
        ...(createOwners === undefined
          ? {}
          : { createOwners: createOwners === 'user' ? ('person' as const) : createOwners }),
      }
      const verdicts: ImportRowVerdict[] = lines.flatMap((line) =>
        'fault' in line ? [faulty(line.row, line.fault)] : [],
      )
      const tokens = lines.flatMap((line) => ('token' in line ? [line.token] : []))
      const bar = createBar(terminal, 'Stopped. The same command goes on from there.')
      try {
        for (const rows of batches(tokens)) {
          verdicts.push(...(await client.imports.add({ ...common, rows })))
          bar.show({
            share: verdicts.length / lines.length,
            text: `${verdicts.length} of ${lines.length} rows`,
          })
        }
      } finally {
        bar.clear()
        if (options.report !== undefined) writeReport(options.report, verdicts)
      }
      report(terminal, { options, importId, verdicts })
    })
}

function mappingOrNone(text: string | undefined): ReturnType<typeof mappingOf> {
  return text === undefined ? new Map() : mappingOf(text)
}

async function everything({ stdin }: Terminal): Promise<string> {
  let text = ''
  for await (const chunk of stdin.setEncoding('utf8')) text += String(chunk)
  return text
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new CliError('not_found', `${file} cannot be read: ${(error as Error).message}.`)
  }
}

function faulty(row: number, message: string): ImportRowVerdict {
  return { row, outcome: 'refused', tokenId: null, code: 'invalid_input', message }
}

function* batches(rows: readonly ImportRow[]): Generator<ImportRow[]> {
  for (let i = 0; i < rows.length; i += BATCH) yield rows.slice(i, i + BATCH)
}

function writeReport(file: string, unordered: readonly ImportRowVerdict[]): void {
  const verdicts = unordered.toSorted((a, b) => a.row - b.row)
  const cell = (value: unknown) => `"${String(value ?? '').replaceAll('"', '""')}"`
  const lines = file.endsWith('.csv')
    ? [
        'row,outcome,token_id,code,message',
        ...verdicts.map(({ row, outcome, tokenId, code, message }) =>
          [row, outcome, tokenId, code, message].map(cell).join(','),
        ),
      ]
    : verdicts.map((verdict) => JSON.stringify(verdict))
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
}

function report(
  terminal: Terminal,
  {
    options,
    importId,
    verdicts,
  }: { options: ImportOptions; importId: string; verdicts: readonly ImportRowVerdict[] },
): void {
  const count = (outcome: ImportRowVerdict['outcome']) =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length
  const totals = {
    rows: verdicts.length,
    created: count('created'),
    exists: count('exists'),
    refused: count('refused'),
  }
  const refused = verdicts
    .filter(({ outcome }) => outcome === 'refused')
    .sort((a, b) => a.row - b.row)
  const reasons = [...Map.groupBy(refused, ({ message }) => message ?? '')]
    .map(([why, rows]) => ({ why, rows }))
    .toSorted((a, b) => b.rows.length - a.rows.length)
  const dryRun = options.dryRun === true
  answer(terminal, {
    ...options,
    document: { importId, dryRun, ...totals, refusals: refused },
    text: () =>
      [
        `${totals.created} ${dryRun ? 'would be made' : 'made'}, ${totals.exists} there already, ${totals.refused} refused, of ${totals.rows} rows.`,
        ...(refused.length === 0
          ? []
          : [
              tableOr(terminal, {
                rows: reasons.slice(0, SHOWN_REASONS),
                empty: '',
                columns: [
                  { title: 'ROWS', of: ({ rows }) => String(rows.length), whole: true },
                  { title: 'FIRST', of: ({ rows }) => String(rows[0]?.row), whole: true },
                  { title: 'WHY', of: ({ why }) => why },
                ],
              }),
            ]),
      ].join('\n'),
  })
  if (options.json !== true) for (const line of waysOut(refused, options)) note(terminal, line)
  if (reasons.length > SHOWN_REASONS && options.json !== true) {
    note(terminal, `${reasons.length - SHOWN_REASONS} more reasons: see them all with --report.`)
  }
  if (refused.length > 0) process.exitCode = REFUSED
}

/** Options that would have let rows in. */
function waysOut(
  refused: readonly ImportRowVerdict[],
  { createOwners, createGroups }: ImportOptions,
): string[] {
  const lacks = (what: string) =>
    refused.some(({ code, message }) => code === 'not_found' && message?.includes(what) === true)
  const options = [
    ...(createOwners === undefined && lacks('There is no user') ? ['--create-owners service'] : []),
    ...(createGroups !== true && lacks('There is no group') ? ['--create-groups'] : []),
  ]
  return options.length === 0 ? [] : [`What is missing is made with ${options.join(' ')}.`]
}
