import { randomUUID } from 'node:crypto'
import type {
  Delivery,
  DeliveryState,
  DeliveryWithAttempts,
  EventType,
  IssuedWebhook,
  Webhook,
  WebhookEdit,
} from '@mintmark/sdk'
import type { Command } from 'commander'
import { branch, leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { REFUSED, wrongUsage } from '../failure.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { deliveryId, webhookId } from '../names.ts'
import { answer, answerSecret, type JsonOption, minute, orDash, tableOr } from '../output.ts'
import { confirm } from '../prompt.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { oneOf, seconds } from '../values.ts'

export function webhookCommands(program: Command, terminal: Terminal): void {
  const webhook = branch(program, 'webhook', 'Manage addresses that are told of events')
  createWebhook(webhook, terminal)
  listWebhooks(webhook, terminal)
  showWebhook(webhook, terminal)
  updateWebhook(webhook, terminal)
  rotateWebhook(webhook, terminal)
  testWebhook(webhook, terminal)
  deleteWebhook(webhook, terminal)
  deliveryCommands(webhook, terminal)
}

interface WishOptions extends JsonOption {
  description?: string
  type?: string[]
}

// The server says which types there are.
const typesOf = (type: string[]) => type as EventType[]

function createWebhook(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'create', {
    summary: 'Create a webhook; only its secret goes to stdout',
    examples: [
      'mintmark webhook create https://hooks.example.com/mintmark',
      'mintmark webhook create https://hooks.example.com/m --type token.expiring --type token.leaked',
    ],
  })
    .argument('<url>', 'https, into a public network')
    .option('--type <type>', 'only events of this type; repeat for more (default: all)', repeated)
    .option('--description <text>', 'what it is for')
    .action(async (url: string, options: WishOptions) => {
      const { type, description } = options
      const wish = {
        url,
        ...(type === undefined ? {} : { types: typesOf(type) }),
        ...(description === undefined ? {} : { description }),
      }
      const once = { idempotencyKey: randomUUID() }
      const made = await connect(terminal).webhooks.create(wish, once)
      answerIssued(terminal, { options, webhook: made, verb: 'Created' })
    })
}

function answerIssued(
  terminal: Terminal,
  { options, webhook, verb }: { options: JsonOption; webhook: IssuedWebhook; verb: string },
): void {
  answerSecret(terminal, {
    ...options,
    document: webhook,
    secret: webhook.secret,
    before: `${verb} the webhook ${webhook.id} to ${visible(webhook.url)}.`,
    after: [
      'This secret is shown only now: the receiver needs it to check signatures (Standard Webhooks).',
      `Try it:  mintmark webhook test ${webhook.id}`,
    ],
  })
}

function listWebhooks(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'list', { summary: 'List webhooks, oldest first' }).action(
    async (options: JsonOption) => {
      const items = await connect(terminal).webhooks.list()
      const text = () =>
        tableOr(terminal, {
          rows: items,
          empty: 'No webhooks. Make one: mintmark webhook create <url>',
          columns: [
            { title: 'ID', of: (row) => row.id, whole: true },
            { title: 'STATE', of: (row) => row.state, whole: true },
            { title: 'URL', of: (row) => row.url },
            { title: 'TYPES', of: (row) => row.types?.join(',') ?? 'all' },
          ],
        })
      answer(terminal, { ...options, document: { items }, text })
    },
  )
}

function showWebhook(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'show', { summary: 'Show everything about a webhook but its secret' })
    .argument('<id>', 'id of the webhook')
    .action(async (id: string, options: JsonOption) => {
      const found = await connect(terminal).webhooks.get(webhookId(id))
      answer(terminal, { ...options, document: found, text: () => aboutWebhook(found) })
    })
}

function aboutWebhook(webhook: Webhook): string {
  return facts([
    ['id', webhook.id],
    ['url', webhook.url],
    ['description', webhook.description === '' ? undefined : webhook.description],
    ['types', webhook.types?.join(', ') ?? 'all'],
    ['state', webhook.state],
    ['because', webhook.pausedBecause ?? undefined],
    ['failing since', webhook.failingSince ?? undefined],
    ['made', webhook.createdAt],
  ])
}

interface UpdateOptions extends WishOptions {
  url?: string
  allTypes?: boolean
  enable?: boolean
  disable?: boolean
}

function updateWebhook(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'update', {
    summary: 'Change a webhook, switch it off, or on again',
    details: 'Enabling one that was paused takes up its deliveries where they stopped.',
    examples: ['mintmark webhook update <id> --enable', 'mintmark webhook update <id> --all-types'],
  })
    .argument('<id>', 'id of the webhook')
    .option('--url <url>', 'new address')
    .option('--description <text>', 'new description')
    .option('--type <type>', 'only events of this type; repeat for more', repeated)
    .option('--all-types', 'events of every type')
    .option('--enable', 'deliver')
    .option('--disable', 'deliver no more')
    .action(async (id: string, options: UpdateOptions) => {
      const { url, description, type, allTypes, enable, disable } = options
      if (enable === true && disable === true) throw wrongUsage('Say --enable or --disable.')
      if (type !== undefined && allTypes === true) throw wrongUsage('Say --type or --all-types.')
      const edit: WebhookEdit = {
        ...(url === undefined ? {} : { url }),
        ...(description === undefined ? {} : { description }),
        ...(type === undefined ? {} : { types: typesOf(type) }),
        ...(allTypes === true ? { types: null } : {}),
        ...(enable === true ? { state: 'enabled' } : {}),
        ...(disable === true ? { state: 'disabled' } : {}),
      }
      if (Object.keys(edit).length === 0) throw wrongUsage('Say what to change.')
      const changed = await connect(terminal).webhooks.update(webhookId(id), edit)
      answer(terminal, { ...options, document: changed, text: () => aboutWebhook(changed) })
    })
}

function rotateWebhook(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'rotate', {
    summary: 'Replace the secret of a webhook; only the new one goes to stdout',
    details: 'Until the overlap is over, deliveries carry a signature of each secret.',
    examples: ['mintmark webhook rotate <id> --overlap 1h'],
  })
    .argument('<id>', 'id of the webhook')
    .option('--overlap <time>', 'how long the old secret signs, too (default: 1d)', seconds)
    .action(async (id: string, options: JsonOption & { overlap?: number }) => {
      const { overlap } = options
      const wish = overlap === undefined ? {} : { overlapSeconds: overlap }
      const once = { idempotencyKey: randomUUID() }
      const next = await connect(terminal).webhooks.rotateSecret(webhookId(id), wish, once)
      answerIssued(terminal, { options, webhook: next, verb: 'Replaced the secret of' })
    })
}

function testWebhook(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'test', {
    summary: 'Send a message of the type webhook.test, now and once',
    details: 'Ends with status 1 when it did not get through.',
  })
    .argument('<id>', 'id of the webhook')
    .action(async (id: string, options: JsonOption) => {
      const attempt = await connect(terminal).webhooks.test(webhookId(id))
      const text = () =>
        attempt.error === null
          ? `It arrived: ${attempt.status}, after ${attempt.durationMs} ms.`
          : visible(attempt.error)
      answer(terminal, { ...options, document: attempt, text })
      if (attempt.error !== null) process.exitCode = REFUSED
    })
}

function deleteWebhook(webhook: Command, terminal: Terminal): void {
  leaf(webhook, 'delete', { summary: 'Delete a webhook with its deliveries' })
    .argument('<id>', 'id of the webhook')
    .option('--yes', 'do not ask')
    .action(async (id: string, options: JsonOption & { yes?: boolean }) => {
      const { webhooks } = connect(terminal)
      const found = await webhooks.get(webhookId(id))
      const question = `Delete the webhook to ${visible(found.url)} and what waits for it?`
      await confirm(terminal, { yes: options.yes, question })
      await webhooks.delete(id)
      answer(terminal, { ...options, document: { deleted: id }, text: () => `Deleted ${id}.` })
    })
}

function deliveryCommands(webhook: Command, terminal: Terminal): void {
  const command = leaf(webhook, 'deliveries', {
    summary: 'List deliveries, newest first; --state dead lists those given up',
    examples: ['mintmark webhook deliveries --state dead'],
  })
    .option('--webhook <id>', 'only those to this webhook')
    .option(
      '--state <state>',
      'pending, delivered or dead',
      oneOf<DeliveryState>(['pending', 'delivered', 'dead']),
    )
  paged(command).action(
    async (options: ListOptions & { webhook?: string; state?: DeliveryState }) => {
      const { deliveries } = connect(terminal)
      const filter = {
        ...(options.webhook === undefined ? {} : { webhookId: webhookId(options.webhook) }),
        ...(options.state === undefined ? {} : { state: options.state }),
      }
      await printList(terminal, options, {
        list: (page) => deliveries.list({ ...page, ...filter }),
        empty: 'No deliveries match.',
        columns: [
          { title: 'ID', of: (row) => row.id, whole: true },
          { title: 'EVENT', of: (row) => row.eventId, whole: true },
          { title: 'STATE', of: (row) => row.state, whole: true },
          { title: 'TRIES', of: (row) => String(row.attempts), whole: true },
          { title: 'LAST', of: lastOf },
          { title: 'NEXT', of: nextOf, whole: true },
          { title: 'WEBHOOK', of: (row) => row.webhookId, whole: true, extra: true },
        ],
      })
    },
  )
  leaf(webhook, 'delivery', {
    summary: 'Show a delivery with its attempts: when, and what came of each',
    examples: ['mintmark webhook delivery <delivery>'],
  })
    .argument('<delivery>', 'id of the delivery')
    .action(async (id: string, options: JsonOption) => {
      const found = await connect(terminal).deliveries.get(deliveryId(id))
      answer(terminal, { ...options, document: found, text: () => aboutDelivery(terminal, found) })
    })

  leaf(webhook, 'redeliver', {
    summary: 'Try a delivery that has ended once more',
    examples: ['mintmark webhook redeliver <delivery>'],
  })
    .argument('<delivery>', 'id of the delivery')
    .action(async (id: string, options: JsonOption) => {
      const document = await connect(terminal).deliveries.redeliver(deliveryId(id))
      answer(terminal, { ...options, document, text: () => `${id} is in line again.` })
    })
}

function aboutDelivery(terminal: Terminal, delivery: DeliveryWithAttempts): string {
  const { log } = delivery
  return [
    facts([
      ['id', delivery.id],
      ['event', delivery.eventId],
      ['webhook', delivery.webhookId],
      ['state', delivery.state],
      ['made', delivery.createdAt],
      ['next try', delivery.nextAttemptAt ?? undefined],
      ['ended', delivery.endedAt ?? undefined],
    ]),
    '',
    tableOr(terminal, {
      rows: log,
      empty: 'It was not tried yet.',
      columns: [
        { title: 'TRY', of: ({ number }) => String(number), whole: true },
        { title: 'AT', of: ({ at }) => minute(at), whole: true },
        { title: 'TOOK', of: ({ durationMs }) => `${durationMs} ms`, whole: true },
        { title: 'ANSWER', of: lastOf },
      ],
    }),
  ].join('\n')
}

function lastOf({ status, error }: Pick<Delivery, 'status' | 'error'>): string {
  return orDash(error ?? (status === null ? null : String(status)))
}

function nextOf({ nextAttemptAt }: Delivery): string {
  return nextAttemptAt === null ? '-' : minute(nextAttemptAt)
}
