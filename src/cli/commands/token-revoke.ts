import { randomUUID } from 'node:crypto'
import type { BulkWish } from '@mintmark/sdk'
import type { Command } from 'commander'
import { aboutBlastRadius, answerBlastRadius } from '../blast-radius-text.ts'
import { type ChangeOption, changing } from '../change.ts'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { CliError, wrongUsage } from '../failure.ts'
import { aboutJob, followJob } from '../follow-job.ts'
import { tokenId } from '../names.ts'
import { answer } from '../output.ts'
import { pointing } from '../pointing.ts'
import { confirm } from '../prompt.ts'
import { note, type Terminal } from '../terminal.ts'
import { expiresAt, expiry } from '../values.ts'

interface BulkOptions extends ChangeOption {
  reason?: string
  dryRun?: boolean
  yes?: boolean
}

/** What ends tokens: one, or all that a query means. */
export function revokeTokenCommands(token: Command, terminal: Terminal): void {
  revokeToken(token, terminal)
  expireTokens(token, terminal)
}

function revokeToken(token: Command, terminal: Terminal): void {
  const command = changing(token, 'revoke', {
    summary: 'Revoke a token for good, with its family; dead when this returns',
    details:
      'Does not ask first: a leaked token must die fast. With --query all tokens that it selects, after a look at what that hits; the server goes on by itself when this command is stopped.',
    examples: [
      'mintmark token revoke <id> --reason "in a public repository"',
      "mintmark token revoke --query 'state:active used:>90d,never created:>90d' --dry-run",
    ],
  })
    .argument('[id]', 'id of the token, or self for the one in use')
    .option('--query <query>', 'all tokens that this selects, instead of one')
    .option('--reason <text>', 'for the audit trail')
  bulkOptions(command).action(
    async (id: string | undefined, options: BulkOptions & { query?: string }) => {
      const { query, reason } = options
      if ((id === undefined) === (query === undefined)) {
        throw wrongUsage('Say the id of a token, or --query for many.')
      }
      const because = reason === undefined ? {} : { reason }
      if (query !== undefined) {
        await runBulk(terminal, { action: 'revoke', q: query, ...because }, options)
        return
      }
      await revokeOne(terminal, id ?? '', options)
    },
  )
}

async function revokeOne(terminal: Terminal, id: string, options: BulkOptions): Promise<void> {
  const { tokens } = connect(terminal, options)
  if (options.dryRun === true) {
    const radius = await (id === 'self'
      ? tokens.revokeSelfDryRun()
      : tokens.revokeDryRun(tokenId(id)))
    answerBlastRadius(terminal, options, radius)
    return
  }
  const wish = options.reason === undefined ? {} : { reason: options.reason }
  const done = await (id === 'self' ? tokens.revokeSelf(wish) : tokens.revoke(tokenId(id), wish))
  answer(terminal, {
    ...options,
    document: done,
    text: () =>
      done.revoked.length === 0
        ? 'It was no longer active. Nothing was changed.'
        : ['Revoked:', ...done.revoked].join('\n  '),
  })
}

function expireTokens(token: Command, terminal: Terminal): void {
  const command = leaf(token, 'expire', {
    summary: 'Let all api and service tokens that a query selects end soon',
    details: 'Only brings an end forward: tokens that end before that stay as they are.',
    examples: ["mintmark token expire --query 'owner:alice expires:never' --in 14d --dry-run"],
  })
    .requiredOption('--query <query>', 'the tokens')
    .requiredOption('--in <when>', '14d, 12h, 15m, or an RFC 3339 instant', (text) =>
      expiry(text, terminal.now()),
    )
    .option('--reason <text>', 'for the audit trail')
  bulkOptions(command).action(async (options: BulkOptions & { query: string; in: string }) => {
    const at = expiresAt(options.in)
    if (at === null) throw wrongUsage('Say when, not never.')
    const { query, reason } = options
    const because = reason === undefined ? {} : { reason }
    await runBulk(terminal, { action: 'set_expiry', q: query, expiresAt: at, ...because }, options)
  })
}

function bulkOptions(command: Command): Command {
  return command
    .option('--dry-run', 'only show what would be hit')
    .option('--yes', 'with --query: do not ask')
    .option('--no-wait', 'with --query: return once it has begun')
}

async function runBulk(terminal: Terminal, wish: BulkWish, options: BulkOptions): Promise<void> {
  const client = connect(terminal, options)
  const radius = await pointing(wish.q, () => client.tokens.bulkDryRun(wish))
  if (options.dryRun === true) {
    answerBlastRadius(terminal, options, radius)
    return
  }
  note(terminal, aboutBlastRadius(radius))
  const question =
    wish.action === 'revoke' ? 'Revoke all of these for good?' : 'Bring the end of these forward?'
  await confirm(terminal, { yes: options.yes, question })
  // With a key a lost answer makes no second job.
  const started = await client.tokens.bulk(wish, { idempotencyKey: randomUUID() })
  const job = options.wait === false ? started : await followJob(terminal, client, started)
  answer(terminal, { ...options, document: job, text: () => aboutJob(job) })
  if (job.state === 'failed') throw new CliError('job_failed', job.problem ?? 'The job failed.')
}
