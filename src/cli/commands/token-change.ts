import type { TokenEdit } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { tokenId } from '../names.ts'
import { answer, type JsonOption } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { aboutToken } from '../token-text.ts'
import { jsonObject } from '../values.ts'

export function changeTokenCommands(token: Command, terminal: Terminal): void {
  updateToken(token, terminal)
}

function updateToken(token: Command, terminal: Terminal): void {
  leaf(token, 'update', {
    summary: 'Change name, description or metadata; rights are fixed',
    examples: ['mintmark token update <id> --name nightly-build'],
  })
    .argument('<id>', 'id of the token')
    .option('--name <name>', 'new name')
    .option('--description <text>', 'new description')
    .option('--metadata <json>', 'replaces the metadata', jsonObject)
    .action(async (id: string, options: JsonOption & TokenEdit) => {
      const { name, description, metadata } = options
      const edit: TokenEdit = {
        ...(name === undefined ? {} : { name }),
        ...(description === undefined ? {} : { description }),
        ...(metadata === undefined ? {} : { metadata }),
      }
      if (Object.keys(edit).length === 0) throw wrongUsage('Say what to change.')
      const changed = await connect(terminal).tokens.update(tokenId(id), edit)
      answer(terminal, { ...options, document: changed, text: () => aboutToken(changed) })
    })
}
