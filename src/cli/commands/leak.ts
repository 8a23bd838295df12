import type { Command } from 'commander'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { answer, type JsonOption } from '../output.ts'
import { presentedSecret } from '../presented-secret.ts'
import type { Terminal } from '../terminal.ts'

export function leakCommands(program: Command, terminal: Terminal): void {
  const leak = branch(program, 'leak', 'Report secrets that were seen where they should not be')
  reportLeak(leak, terminal)
}

interface ReportOptions extends JsonOption {
  source: string
  url?: string
}

function reportLeak(leak: Command, terminal: Terminal): void {
  leaf(leak, 'report', {
    summary: 'Report a leaked secret; its token is dealt with as the policy says',
    details:
      'Needs an administrator or the role leak-reporter, and a FULL_ACCESS token. By default the policy quarantines the token, which `mintmark token release` takes back.',
    examples: [
      'mintmark leak report --url https://code.example.com/web/config.env',
      'pbpaste | mintmark leak report',
    ],
  })
    .argument('[secret]', 'the secret (default: a hidden question, or the first line of stdin)')
    .option('--source <text>', 'what found it, or where', 'cli')
    .option('--url <url>', 'where it can be seen')
    .action(async (argument: string | undefined, options: ReportOptions) => {
      const secret = await presentedSecret(terminal, { argument, env: undefined })
      const { source, url } = options
      const found = { secrets: [secret], source, ...(url === undefined ? {} : { url }) }
      const receipt = await connect(terminal).leaks.report(found)
      const [outcome] = receipt.outcomes ?? []
      const text = () => {
        if (outcome === undefined) return 'Reported. Thank you.'
        if (outcome.tokenId === null) return 'Reported. No token has this secret.'
        return `Reported. Token ${outcome.tokenId}: ${DONE[outcome.action]}`
      }
      answer(terminal, { ...options, document: receipt, text })
    })
}

const DONE = {
  notify: 'those who follow events are told; it still works.',
  quarantine: 'it is quarantined. Revoke it, or release it if this was a mistake.',
  revoke: 'it is revoked.',
  none: 'there was nothing to stop, or it was reported before.',
} as const
