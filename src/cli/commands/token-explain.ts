import { styleText } from 'node:util'
import type { Client, ExplainedVerdict, Explanation } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { aboutSecret, type DemandOptions, demandOf } from '../demand.ts'
import { REFUSED, wrongUsage } from '../failure.ts'
import { tokenIdOf } from '../names.ts'
import { answer, type JsonOption } from '../output.ts'
import { presentedSecret } from '../presented-secret.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { rightsFacts } from '../token-text.ts'

interface ExplainOptions extends JsonOption, DemandOptions {
  id?: string
}

export function explainTokenCommand(token: Command, terminal: Terminal): void {
  const explain = leaf(token, 'explain', {
    summary: 'Why is a token good or not, check by check, and what could it do?',
    details:
      'Ends with status 0 when it is active and holds what is asked for, with 1 when not. Admins and the owner of the token hear everything, others what verify would say. It counts as no use. The secret is given as for verify; or name the token by its id instead.',
    examples: [
      'mintmark token explain < secret.txt',
      'mintmark token explain --env CI_TOKEN --scope deploy --ip 10.0.0.1',
      'mintmark token explain --id <id> --group builders:WRITE',
    ],
  })
  aboutSecret(explain)
    .option('--id <id>', 'the token of this id instead of a secret; self: the one in use')
    .action(async (argument: string | undefined, options: ExplainOptions) => {
      const client = connect(terminal)
      const explained = await client.tokens.explain({
        ...(await subjectOf(terminal, { client, argument, options })),
        ...demandOf(options),
      })
      answer(terminal, {
        ...options,
        document: explained,
        text: () => spelled(explained, terminal),
      })
      if (!explained.active) process.exitCode = REFUSED
    })
}

async function subjectOf(
  terminal: Terminal,
  wish: { client: Client; argument: string | undefined; options: ExplainOptions },
): Promise<{ token: string } | { tokenId: string }> {
  const { client, argument, options } = wish
  const { id, env } = options
  if (id === undefined) return { token: await presentedSecret(terminal, { argument, env }) }
  if (argument === undefined && env === undefined) return { tokenId: await tokenIdOf(client, id) }
  throw wrongUsage('Name the token by its secret or by its id, not by both.')
}

function spelled(explained: ExplainedVerdict, terminal: Terminal): string {
  const reason = explained.active ? undefined : explained.reason
  const verdict = explained.active
    ? 'Active.'
    : reason === undefined
      ? 'Not active.'
      : `Not active: ${visible(reason)}.`
  const { explanation } = explained
  if (explanation === undefined) {
    return `${verdict}\nOnly admins and the owner of the token hear more.`
  }
  return [verdict, checksOf(explanation, terminal), aboutOf(explanation)].join('\n\n').trimEnd()
}

const SIGNS = { passed: '✓', failed: '✗', skipped: '–' } as const
const STYLES = { passed: 'green', failed: 'red', skipped: 'dim' } as const

function checksOf({ checks }: Explanation, { stdout }: Terminal): string {
  const width = Math.max(...checks.map(({ check }) => check.length))
  return checks
    .map(({ check, outcome, detail }) => {
      const line = `${SIGNS[outcome]} ${visible(check).padEnd(width)}`
      return `${styleText(STYLES[outcome], line, { stream: stdout })}  ${visible(detail)}`
    })
    .join('\n')
}

function aboutOf({ token, rights, lost, end, grant }: Explanation): string {
  if (token === null) return ''
  const { client } = token
  return facts([
    ['token', `${token.name ?? token.kind} (${token.id})`],
    ['owner', token.owner.username ?? `${token.owner.id} (deleted)`],
    ...(rights === null ? [] : rightsFacts(rights)),
    ...lost.map(({ detail }) => ['lost', detail] as const),
    ['ends', end === null ? undefined : endOf(end)],
    ['family', token.familyId === token.id ? undefined : token.familyId],
    ['parent', token.parentId ?? undefined],
    ['client', client === null ? undefined : (client.clientId ?? client.id)],
    ['grant', grant === null ? undefined : `${grant.id} for ${grant.scopes.join(' ')}`],
  ])
}

const BECAUSE = {
  revoked: 'it was revoked',
  superseded: 'it was replaced',
  expiry: 'it expires',
  idle: 'it stands idle',
  policy: 'the policy ends it',
  access_token: 'the access token presented ends then',
} as const

function endOf({ at, because }: NonNullable<Explanation['end']>): string {
  return at === null || because === null ? 'never' : `${at}, because ${BECAUSE[because]}`
}
