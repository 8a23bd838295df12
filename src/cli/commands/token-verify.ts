import type { Mode, Verdict } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { REFUSED, wrongUsage } from '../failure.ts'
import { answer, type JsonOption } from '../output.ts'
import { ask, linesOf } from '../prompt.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { groupGrant } from '../values.ts'

interface VerifyOptions extends JsonOption {
  env?: string
  role?: string
  scope?: string
  group?: { group: string; mode: Mode }
  ip?: string
}

export function verifyTokenCommand(token: Command, terminal: Terminal): void {
  leaf(token, 'verify', {
    summary: 'Is this secret active, and good for this?',
    details:
      'Ends with status 0 when it is active and holds what is asked for, with 1 when not. The secret is read from stdin, or asked for on a terminal. It may be an argument, too, but other users of this machine can see arguments while the command runs, and shells remember them.',
    examples: [
      'mintmark token verify < secret.txt',
      'mintmark token verify --env CI_TOKEN --scope deploy --group builders:WRITE',
      'printf %s "$TOKEN" | mintmark token verify - && echo good',
    ],
  })
    .argument('[secret]', 'the secret; - or nothing: from stdin')
    .option('--env <name>', 'read the secret from this environment variable')
    .option('--role <name>', 'must hold this role')
    .option('--scope <scope>', 'must hold this scope')
    .option('--group <group:mode>', 'must reach this mode in this group', groupGrant)
    .option('--ip <address>', 'presented by a client at this address')
    .action(async (argument: string | undefined, options: VerifyOptions) => {
      const client = connect(terminal)
      const { role, scope, group, ip } = options
      const verdict = await client.tokens.verify({
        token: await secretOf(terminal, { argument, env: options.env }),
        ...(role === undefined ? {} : { role }),
        ...(scope === undefined ? {} : { scope }),
        ...(group ?? {}),
        ...(ip === undefined ? {} : { ip }),
      })
      answer(terminal, { ...options, document: verdict, text: () => spelled(verdict) })
      if (!verdict.active) process.exitCode = REFUSED
    })
}

async function secretOf(
  terminal: Terminal,
  { argument = '-', env }: { argument: string | undefined; env: string | undefined },
): Promise<string> {
  const secret = (await presented()).trim()
  if (secret !== '') return secret
  throw wrongUsage('There is no secret to verify.')

  async function presented(): Promise<string> {
    if (env !== undefined) return terminal.env[env] ?? ''
    if (argument !== '-') return argument
    if (terminal.stdin.isTTY) return ask(terminal, 'Secret', { hidden: true })
    return (await linesOf(terminal))[0] ?? ''
  }
}

function spelled(verdict: Verdict): string {
  if (!verdict.active) {
    return verdict.reason === undefined ? 'Not active.' : `Not active: ${visible(verdict.reason)}.`
  }
  const { groups, roles, scopes } = verdict
  return facts([
    ['active', 'yes'],
    ['token', `${verdict.name ?? verdict.kind} (${verdict.tokenId})`],
    ['owner', verdict.owner.username],
    ['access', verdict.accessLevel],
    ['admin', verdict.admin ? 'yes' : 'no'],
    ['roles', roles.join(', ') || 'none'],
    ['groups', groups.map(({ name, mode }) => `${name}:${mode}`).join(', ') || 'none'],
    ['scopes', scopes === null ? 'all' : scopes.join(', ') || 'none'],
    ['expires', verdict.expiresAt ?? 'never'],
  ])
}
