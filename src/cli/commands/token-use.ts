import type { UseBy, UseSeries, UseSpan, UseStep } from '@mintmark/sdk'
import type { Command } from 'commander'
import { barColumn } from '../bars.ts'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { tokenIdOf } from '../names.ts'
import { answer, type JsonOption, minute, tableOr } from '../output.ts'
import { pointing } from '../pointing.ts'
import { sparkline } from '../sparkline.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { oneOf, since } from '../values.ts'
import { filterOf, QUERY_HELP, type TokenFilterOptions, withFilter } from './token-read.ts'

const STEPS: readonly UseStep[] = ['minute', 'hour', 'day']
const BY: readonly UseBy[] = ['token', 'owner', 'group', 'kind']
const PLOT_WIDTH = 72

interface SpanOptions extends JsonOption {
  from?: string
  to?: string
  step?: UseStep
}

export function tokenUseCommands(token: Command, terminal: Terminal): void {
  const use = leaf(token, 'use', {
    summary: 'Show how often a token was used and refused, over time',
    details: 'As of the last ten seconds.',
    examples: ['mintmark token use <id>', 'mintmark token use <id> --from 30d --step day'],
  }).argument('<id>', 'id of the token, or self for the one in use')
  withSpan(use, terminal).action(async (id: string, options: SpanOptions) => {
    const client = connect(terminal)
    const document = await client.tokens.use(await tokenIdOf(client, id), spanOf(options))
    answer(terminal, { ...options, document, text: () => plotted(document) })
  })

  const useBy = leaf(token, 'use-by', {
    summary: 'Show which tokens, owners, groups or kinds are used most',
    details: QUERY_HELP,
    examples: [
      'mintmark token use-by owner --from 7d --step day',
      'mintmark token use-by token kind:api owner:alice',
    ],
  }).argument('<by>', BY.join(', '), oneOf(BY))
  withSpan(withFilter(useBy), terminal).action(
    async (by: UseBy, query: string[], options: SpanOptions & TokenFilterOptions) => {
      const client = connect(terminal)
      const filter = await filterOf(client, { query, options })
      const document = await pointing(filter.q, () =>
        client.tokens.useBy({ ...filter, ...spanOf(options), by }),
      )
      const table = () =>
        tableOr(terminal, {
          rows: document.figures,
          columns: [
            { title: by.toUpperCase(), of: (row) => row.value },
            { title: 'USES', of: (row) => String(row.uses), whole: true },
            { title: 'REFUSED', of: (row) => String(row.refused), whole: true },
            barColumn(document.figures, ({ uses }) => uses),
          ],
          empty: 'Nothing was used.',
        })
      answer(terminal, {
        ...options,
        document,
        text: () => [plotted(document), '', table()].join('\n'),
      })
    },
  )
}

function withSpan(command: Command, terminal: Terminal): Command {
  const instant = (text: string) => since(text, terminal.now())
  return command
    .option('--from <when>', 'an RFC 3339 instant, or a time back from now like 7d', instant)
    .option('--to <when>', 'the same (default: now)', instant)
    .option('--step <step>', `${STEPS.join(', ')} (default: hour)`, oneOf(STEPS))
}

function spanOf({ from, to, step }: SpanOptions): UseSpan {
  return {
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(step === undefined ? {} : { step }),
  }
}

function plotted({ from, to, step, uses, refused, refusals, points }: UseSeries): string {
  const reasons = refusals.map(({ reason, count }) => `${reason} ${count}`).join(', ')
  const line = (of: 'uses' | 'refused') =>
    `|${sparkline(
      points.map((point) => point[of]),
      PLOT_WIDTH,
    )}|`
  return facts([
    ['from', `${minute(from)} to ${minute(to)}, by ${step}`],
    ['uses', String(uses)],
    ['', uses === 0 ? undefined : line('uses')],
    ['refused', reasons === '' ? String(refused) : `${refused}: ${reasons}`],
    ['', refused === 0 ? undefined : line('refused')],
  ])
}
