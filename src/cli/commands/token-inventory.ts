import { once } from 'node:events'
import type { TokenStatsBy } from '@mintmark/sdk'
import type { Command } from 'commander'
import { barColumn } from '../bars.ts'
import { explained, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { answer, type JsonOption, tableOr } from '../output.ts'
import { pointing } from '../pointing.ts'
import { note, type Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { oneOf } from '../values.ts'
import {
  filterOf,
  QUERY_HELP,
  SORT_HELP,
  type Sort,
  sortOf,
  type TokenFilterOptions,
  withFilter,
} from './token-read.ts'

const BY: readonly TokenStatsBy[] = [
  'kind',
  'state',
  'owner',
  'group',
  'client',
  'role',
  'scope',
  'via',
  'month',
  'expires',
]
const BY_HELP = `${BY.slice(0, -2).join(', ')}, month (of creation) or expires (by month)`
const FORMATS = ['csv', 'jsonl'] as const
type Format = (typeof FORMATS)[number]

/** Questions about all tokens that a query means. */
export function tokenInventoryCommands(token: Command, terminal: Terminal): void {
  countTokens(token, terminal)
  tokenStats(token, terminal)
  exportTokens(token, terminal)
}

function countTokens(token: Command, terminal: Terminal): void {
  const command = leaf(token, 'count', {
    summary: 'How many tokens a query means',
    details: QUERY_HELP,
    examples: ['mintmark token count state:active', "mintmark token count 'expires:<14d'"],
  })
  withFilter(command).action(async (query: string[], options: JsonOption & TokenFilterOptions) => {
    const client = connect(terminal)
    const filter = await filterOf(client, { query, options })
    const counted = await pointing(filter.q, () => client.tokens.count(filter))
    answer(terminal, { ...options, document: counted, text: () => String(counted.count) })
  })
}

interface StatsOptions extends JsonOption, TokenFilterOptions {
  by: TokenStatsBy
}

function tokenStats(token: Command, terminal: Terminal): void {
  const command = leaf(token, 'stats', {
    summary: 'How many of the tokens that a query means have each value',
    details: QUERY_HELP,
    examples: ['mintmark token stats --by state', 'mintmark token stats state:active --by expires'],
  })
  withFilter(command)
    .requiredOption('--by <what>', BY_HELP, oneOf(BY))
    .action(async (query: string[], options: StatsOptions) => {
      const client = connect(terminal)
      const { by } = options
      const filter = await filterOf(client, { query, options })
      const stats = await pointing(filter.q, () => client.tokens.stats({ ...filter, by }))
      answer(terminal, {
        ...options,
        document: stats,
        text: () =>
          tableOr(terminal, {
            rows: stats.figures,
            empty: 'No tokens match.',
            columns: [
              {
                title: by.toUpperCase(),
                of: ({ value, id }) => value ?? id ?? NO_VALUE[by] ?? '-',
              },
              { title: 'TOKENS', of: ({ count }) => String(count), whole: true },
              barColumn(stats.figures, ({ count }) => count),
            ],
          }),
      })
      if (stats.others > 0 && options.json !== true) {
        note(terminal, `${stats.others} more values are left out. Narrow the query.`)
      }
    })
}

/** What it means that there is no value. */
const NO_VALUE: Partial<Record<TokenStatsBy, string>> = {
  client: '(no client)',
  expires: 'never',
  group: "(all of the owner's)",
  role: "(all of the owner's)",
  scope: "(all of the owner's)",
}

interface ExportOptions extends TokenFilterOptions {
  format: Format
  sort?: Sort
}

function exportTokens(token: Command, terminal: Terminal): void {
  // Without --json: the answer is a file of any size, not a document.
  const command = explained(token.command('export'), {
    summary: 'Write all tokens that a query means to stdout, as CSV or JSON lines',
    details: `Without their secrets, which nobody has. Leaves a record in the audit trail. ${QUERY_HELP}`,
    examples: [
      'mintmark token export > tokens.csv',
      "mintmark token export 'used:never created:>90d' --format jsonl > unused.jsonl",
    ],
  })
  withFilter(command)
    .option('--sort <field>', SORT_HELP, sortOf)
    .option('--format <format>', 'csv or jsonl', oneOf(FORMATS), 'csv')
    .action(async (query: string[], options: ExportOptions) => {
      const client = connect(terminal)
      const { format, sort } = options
      const filter = await filterOf(client, { query, options, sort })
      await pointing(filter.q, async () => {
        for await (const text of client.tokens.exportFile({ ...filter, format })) {
          await write(terminal, text)
        }
      })
    })
}

/** As fast as it is read. A terminal gets control characters spelled out, a file the text itself. */
async function write({ stdout }: Terminal, text: string): Promise<void> {
  const shown = stdout.isTTY ? text.split(/\r?\n/).map(visible).join('\n') : text
  if (!stdout.write(shown)) await once(stdout, 'drain')
}
