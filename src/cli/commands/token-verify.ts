import type { Verdict } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { aboutSecret, type DemandOptions, demandOf } from '../demand.ts'
import { REFUSED } from '../failure.ts'
import { answer, type JsonOption } from '../output.ts'
import { presentedSecret } from '../presented-secret.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { rightsFacts } from '../token-text.ts'

export function verifyTokenCommand(token: Command, terminal: Terminal): void {
  const verify = leaf(token, 'verify', {
    summary: 'Is this secret active, and good for this?',
    details:
      'Ends with status 0 when it is active and holds what is asked for, with 1 when not. The secret is read from stdin, or asked for on a terminal. It may be an argument, too, but other users of this machine can see arguments while the command runs, and shells remember them.',
    examples: [
      'mintmark token verify < secret.txt',
      'mintmark token verify --env CI_TOKEN --scope deploy --group builders:WRITE',
      'printf %s "$TOKEN" | mintmark token verify - && echo good',
    ],
  })
  aboutSecret(verify).action(
    async (argument: string | undefined, options: JsonOption & DemandOptions) => {
      const client = connect(terminal)
      const verdict = await client.tokens.verify({
        token: await presentedSecret(terminal, { argument, env: options.env }),
        ...demandOf(options),
      })
      answer(terminal, { ...options, document: verdict, text: () => spelled(verdict) })
      if (!verdict.active) process.exitCode = REFUSED
    },
  )
}

function spelled(verdict: Verdict): string {
  if (!verdict.active) {
    return verdict.reason === undefined ? 'Not active.' : `Not active: ${visible(verdict.reason)}.`
  }
  return facts([
    ['active', 'yes'],
    ['token', `${verdict.name ?? verdict.kind} (${verdict.tokenId})`],
    ['owner', verdict.owner.username],
    ...rightsFacts(verdict),
    ['expires', verdict.expiresAt ?? 'never'],
  ])
}
