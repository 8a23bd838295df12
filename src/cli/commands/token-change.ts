import type { TokenEdit } from '@mintmark/sdk'
import type { Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { tokenId } from '../names.ts'
import { answer } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { aboutToken } from '../token-text.ts'
import { jsonObject } from '../values.ts'

export function changeTokenCommands(token: Command, terminal: Terminal): void {
  updateToken(token, terminal)
  quarantineToken(token, terminal)
  releaseToken(token, terminal)
}

function updateToken(token: Command, terminal: Terminal): void {
  changing(token, 'update', {
    summary: 'Change name, description or metadata; rights are fixed',
    examples: ['mintmark token update <id> --name nightly-build'],
  })
    .argument('<id>', 'id of the token')
    .option('--name <name>', 'new name')
    .option('--description <text>', 'new description')
    .option('--metadata <json>', 'replaces the metadata', jsonObject)
    .action(async (id: string, options: ChangeOption & TokenEdit) => {
      const { name, description, metadata } = options
      const edit: TokenEdit = {
        ...(name === undefined ? {} : { name }),
        ...(description === undefined ? {} : { description }),
        ...(metadata === undefined ? {} : { metadata }),
      }
      if (Object.keys(edit).length === 0) throw wrongUsage('Say what to change.')
      const changed = await connect(terminal, options).tokens.update(tokenId(id), edit)
      answer(terminal, { ...options, document: changed, text: () => aboutToken(changed) })
    })
}
function quarantineToken(token: Command, terminal: Terminal): void {
  changing(token, 'quarantine', {
    summary: 'Refuse a token, and what is derived from it, until it is released',
    details: 'Each use of it meanwhile is told as an event.',
    examples: ['mintmark token quarantine <id> --reason "seen in a chat"'],
  })
    .argument('<id>', 'id of the token')
    .option('--reason <text>', 'for the audit trail')
    .action(async (id: string, options: ChangeOption & { reason?: string }) => {
      const wish = options.reason === undefined ? {} : { reason: options.reason }
      const done = await connect(terminal, options).tokens.quarantine(tokenId(id), wish)
      const text = () =>
        done.tokens.length === 0
          ? 'It was quarantined already. Nothing was changed.'
          : ['Quarantined:', ...done.tokens].join('\n  ')
      answer(terminal, { ...options, document: done, text })
    })
}

function releaseToken(token: Command, terminal: Terminal): void {
  changing(token, 'release', {
    summary: 'Release a token from quarantine, with what was quarantined with it',
    examples: ['mintmark token release <id> --reason "a false alarm"'],
  })
    .argument('<id>', 'id of the token')
    .option('--reason <text>', 'for the audit trail')
    .action(async (id: string, options: ChangeOption & { reason?: string }) => {
      const wish = options.reason === undefined ? {} : { reason: options.reason }
      const done = await connect(terminal, options).tokens.release(tokenId(id), wish)
      const text = () => ['Released:', ...done.tokens].join('\n  ')
      answer(terminal, { ...options, document: done, text })
    })
}
