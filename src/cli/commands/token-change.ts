import { randomUUID } from 'node:crypto'
import type { TokenEdit } from '@mintmark/sdk'
import type { Command } from 'commander'
import { leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { tokenId } from '../names.ts'
import { answer, type JsonOption } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { aboutToken, answerToken } from '../token-text.ts'
import { expiresAt, expiry, jsonObject } from '../values.ts'

export function changeTokenCommands(token: Command, terminal: Terminal): void {
  updateToken(token, terminal)
  rotateToken(token, terminal)
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

function rotateToken(token: Command, terminal: Terminal): void {
  leaf(token, 'rotate', {
    summary: 'Replace a token by a successor with the same rights; the old secret dies at once',
    details: 'Only the new secret goes to stdout.',
    examples: ['mintmark token rotate <id>', 'mintmark token rotate <id> --expires 90d'],
  })
    .argument('<id>', 'id of the token')
    .option(
      '--expires <when>',
      '30d, 12h, 15m, an RFC 3339 instant, or never (default: as before)',
      (text) => expiry(text, terminal.now()),
    )
    .action(async (id: string, options: JsonOption & { expires?: string }) => {
      const { expires } = options
      const wish = expires === undefined ? {} : { expiresAt: expiresAt(expires) }
      // With a key a lost answer, and the secret in it, is asked for again.
      const once = { idempotencyKey: randomUUID() }
      const next = await connect(terminal).tokens.rotate(tokenId(id), wish, once)
      answerToken(terminal, { options, token: next, verb: 'Rotated' })
    })
}
