import type { Client, LeakReceipt } from '@mintmark/sdk'
import type { Command } from 'commander'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { answer, type JsonOption } from '../output.ts'
import { presentedSecrets } from '../presented-secret.ts'
import type { Terminal } from '../terminal.ts'

export function leakCommands(program: Command, terminal: Terminal): void {
  const leak = branch(program, 'leak', 'Report secrets that were seen where they should not be')
  reportLeak(leak, terminal)
}

/** As many as the server takes at a time. */
const BATCH = 100

interface ReportOptions extends JsonOption {
  source: string
  url?: string
}

function reportLeak(leak: Command, terminal: Terminal): void {
  leaf(leak, 'report', {
    summary: 'Report leaked secrets; their tokens are dealt with as the policy says',
    details:
      'Needs an administrator or the role leak-reporter, and a FULL_ACCESS token. By default the policy quarantines a token, which `mintmark token release` takes back. To find secrets and report them in one go: `mintmark scan --report`.',
    examples: [
      'mintmark leak report --url https://code.example.com/web/config.env',
      'pbpaste | mintmark leak report',
      'mintmark leak report < found-secrets.txt',
    ],
  })
    .argument('[secret]', 'the secret (default: a hidden question, or each line of stdin)')
    .option('--source <text>', 'what found it, or where', 'cli')
    .option('--url <url>', 'where it can be seen')
    .action(async (argument: string | undefined, options: ReportOptions) => {
      const secrets = await presentedSecrets(terminal, argument)
      const receipt = await reported(connect(terminal), secrets, options)
      answer(terminal, { ...options, document: receipt, text: () => spelled(receipt) })
    })
}

async function reported(
  client: Client,
  secrets: readonly string[],
  { source, url }: ReportOptions,
): Promise<LeakReceipt> {
  const receipt: LeakReceipt = { received: 0 }
  for (let i = 0; i < secrets.length; i += BATCH) {
    const { received, outcomes } = await client.leaks.report({
      secrets: secrets.slice(i, i + BATCH),
      source,
      ...(url === undefined ? {} : { url }),
    })
    receipt.received += received
    if (outcomes !== undefined) receipt.outcomes = [...(receipt.outcomes ?? []), ...outcomes]
  }
  return receipt
}

function spelled({ received, outcomes }: LeakReceipt): string {
  const what = received === 1 ? 'Reported.' : `Reported ${received} secrets.`
  if (outcomes === undefined) return `${what} Thank you.`
  const lines = outcomes.flatMap(({ tokenId, action }) =>
    tokenId === null ? [] : [`Token ${tokenId}: ${DONE[action]}`],
  )
  const strangers = outcomes.length - lines.length
  const others =
    strangers === 0
      ? []
      : [received === 1 ? 'No token has this secret.' : `${strangers} of them no token has.`]
  const [first, ...rest] = [...lines, ...others]
  return received === 1 ? `${what} ${first}` : [what, first, ...rest].join('\n')
}

const DONE = {
  notify: 'those who follow events are told; it still works.',
  quarantine: 'it is quarantined. Revoke it, or release it if this was a mistake.',
  revoke: 'it is revoked.',
  none: 'there was nothing to stop, or it was reported before.',
} as const
