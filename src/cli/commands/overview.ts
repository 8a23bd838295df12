import { type Client, MintmarkError, type TokenState, type UseSeries } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { answer, type JsonOption, tableOr } from '../output.ts'
import { sparkline } from '../sparkline.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'

/** Something that somebody should look at, and how. Of deliveries there may be more. */
interface Attention {
  count: number
  what: string
  command: string
}

interface Overview {
  tokens: { total: number; states: Partial<Record<TokenState, number>> }
  /** Of the last 24 hours, by hour. */
  use: Pick<UseSeries, 'uses' | 'refused' | 'refusals' | 'points'>
  attention: Attention[]
}

/** What people and services hold for long; logins and access tokens come and go. */
const LASTING = 'state:active kind:api,service,oauth_refresh'
const QUERIES = [
  { what: 'quarantined', q: 'state:quarantined', sort: '' },
  { what: 'ending within 7 days', q: `${LASTING} expires:<7d`, sort: 'expires' },
  {
    what: 'not used for 90 days',
    q: `${LASTING} used:>90d,never created:>90d`,
    sort: 'used',
  },
  { what: 'never ending', q: `${LASTING} expires:never`, sort: '' },
] as const
const MOST_DELIVERIES = 1000
const STATES: readonly TokenState[] = ['active', 'quarantined', 'expired', 'revoked', 'superseded']

export function overviewCommand(program: Command, terminal: Terminal): void {
  leaf(program, 'overview', {
    summary: 'What there is, how it is used, and what to look at today',
    details:
      'Admins see everything, others what is theirs. What nobody needs to look at is left out.',
    examples: ['mintmark overview', 'mintmark overview --json'],
  }).action(async (options: JsonOption) => {
    const overview = await gathered(connect(terminal))
    answer(terminal, { ...options, document: overview, text: () => spelled(terminal, overview) })
  })
}

async function gathered(client: Client): Promise<Overview> {
  const [stats, use, ...attention] = await Promise.all([
    client.tokens.stats({ by: 'state' }),
    client.tokens.useBy({ by: 'kind' }),
    ...QUERIES.map((query) => tokensToLookAt(client, query)),
    jobsToLookAt(client),
    webhooksToLookAt(client),
    deliveriesToLookAt(client),
    nodesToLookAt(client),
  ])
  const { uses, refused, refusals, points } = use
  return {
    tokens: {
      total: stats.total,
      states: Object.fromEntries(stats.figures.map(({ value, count }) => [value, count])),
    },
    use: { uses, refused, refusals, points },
    attention: attention.filter((each) => each !== undefined).filter(({ count }) => count > 0),
  }
}

async function tokensToLookAt(
  client: Client,
  { what, q, sort }: (typeof QUERIES)[number],
): Promise<Attention> {
  const { count } = await client.tokens.count({ q })
  const order = sort === '' ? '' : ` --sort ${sort}`
  return { count, what: `tokens, ${what}`, command: `mintmark token list '${q}'${order}` }
}

async function jobsToLookAt({ jobs }: Client): Promise<Attention> {
  const { items } = await jobs.list({ open: true })
  return { count: items.length, what: 'jobs under way', command: 'mintmark job list --open' }
}

function webhooksToLookAt({ webhooks }: Client): Promise<Attention | undefined> {
  return unlessForbidden(async () => {
    const paused = (await webhooks.list()).filter(
      ({ state, failingSince }) => state === 'paused' || failingSince !== null,
    )
    const what = 'webhooks, paused or failing'
    return { count: paused.length, what, command: 'mintmark webhook list' }
  })
}

function deliveriesToLookAt({ deliveries }: Client): Promise<Attention | undefined> {
  return unlessForbidden(async () => {
    const { items } = await deliveries.list({ state: 'dead', limit: MOST_DELIVERIES })
    const command = 'mintmark webhook deliveries --state dead'
    return { count: items.length, what: 'deliveries, given up', command }
  })
}

function nodesToLookAt({ nodes }: Client): Promise<Attention | undefined> {
  return unlessForbidden(async () => {
    const gone = (await nodes.list()).filter(({ state }) => state === 'gone')
    return { count: gone.length, what: 'nodes, lost', command: 'mintmark node list' }
  })
}

/** What only admins may see is left out for everybody else. */
async function unlessForbidden(look: () => Promise<Attention>): Promise<Attention | undefined> {
  try {
    return await look()
  } catch (cause) {
    if (cause instanceof MintmarkError && cause.code === 'forbidden') return undefined
    throw cause
  }
}

function spelled(terminal: Terminal, { tokens, use, attention }: Overview): string {
  const states = STATES.flatMap((state) => {
    const count = tokens.states[state] ?? 0
    return count === 0 ? [] : [`${count} ${state}`]
  })
  const reasons = use.refusals.map(({ reason, count }) => `${reason} ${count}`).join(', ')
  const plot = (of: 'uses' | 'refused') =>
    `|${sparkline(
      use.points.map((each) => each[of]),
      72,
    )}|`
  return [
    facts([
      ['tokens', states.join(', ') || 'none'],
      ['uses', `${use.uses} in the last 24 hours`],
      ['', use.uses === 0 ? undefined : plot('uses')],
      ['refused', reasons === '' ? String(use.refused) : `${use.refused}: ${reasons}`],
      ['', use.refused === 0 ? undefined : plot('refused')],
    ]),
    '',
    tableOr(terminal, {
      rows: attention,
      empty: 'Nothing to look at.',
      columns: [
        { title: 'LOOK AT', of: ({ what }) => what, whole: true },
        { title: 'COUNT', of: ({ count }) => String(count), whole: true },
        { title: 'WITH', of: ({ command }) => command, whole: true },
      ],
    }),
  ].join('\n')
}
