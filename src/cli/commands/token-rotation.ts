import { randomUUID } from 'node:crypto'
import type { IssuedToken, Rotation, RotationCallers } from '@mintmark/sdk'
import type { Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { tokenId } from '../names.ts'
import { answer, minute, orDash, tableOr } from '../output.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { answerToken } from '../token-text.ts'
import { expiresAt, expiry, seconds } from '../values.ts'

export function rotateTokenCommands(token: Command, terminal: Terminal): void {
  rotateToken(token, terminal)
  showRotation(token, terminal)
}

function rotateToken(token: Command, terminal: Terminal): void {
  changing(token, 'rotate', {
    summary:
      'Replace a token by a successor with the same rights; the old secret goes on for a while',
    details: 'Only the new secret goes to stdout. docs/guide/rotation.md goes through it.',
    examples: [
      'mintmark token rotate <id>',
      'mintmark token rotate <id> --overlap 2h --expires 90d',
      'mintmark token rotate <id> --overlap 0s',
    ],
  })
    .argument('<id>', 'id of the token')
    .option(
      '--overlap <time>',
      'how long the old secret goes on, like 2h; 0s: not at all (default: as the policy says)',
      seconds,
    )
    .option(
      '--expires <when>',
      '30d, 12h, 15m, an RFC 3339 instant, or never (default: as before)',
      (text) => expiry(text, terminal.now()),
    )
    .action(async (id: string, options: ChangeOption & { expires?: string; overlap?: number }) => {
      const { expires, overlap } = options
      const wish = {
        ...(expires === undefined ? {} : { expiresAt: expiresAt(expires) }),
        ...(overlap === undefined ? {} : { overlapSeconds: overlap }),
      }
      // With a key a lost answer, and the secret in it, is asked for again.
      const once = { idempotencyKey: randomUUID() }
      const next = await connect(terminal, options).tokens.rotate(tokenId(id), wish, once)
      answerToken(terminal, { options, token: next, verb: 'Rotated', more: overlapOf(next, id) })
    })
}

function overlapOf({ overlapEndsAt }: IssuedToken, oldId: string): string[] {
  if (overlapEndsAt === null) return ['The old secret has stopped working.']
  return [
    `The old secret works until ${overlapEndsAt}.`,
    `See who still uses it:  mintmark token rotation ${oldId}`,
  ]
}

interface RotationOptions extends ChangeOption {
  finish?: boolean
  extend?: number
}

function showRotation(token: Command, terminal: Terminal): void {
  changing(token, 'rotation', {
    summary: 'Show who still uses the old secret of a rotated token; finish or extend the overlap',
    examples: [
      'mintmark token rotation <id>',
      'mintmark token rotation <id> --extend 24h',
      'mintmark token rotation <id> --finish',
    ],
  })
    .argument('<id>', 'id of the old token or of its successor')
    .option('--finish', 'end the overlap now; the old secret is dead when this returns')
    .option('--extend <time>', 'let the overlap last so long from now, like 24h', seconds)
    .action(async (id: string, options: RotationOptions) => {
      const document = await changed(terminal, tokenId(id), options)
      answer(terminal, { ...options, document, text: () => spelled(terminal, document) })
    })
}

function changed(terminal: Terminal, id: string, options: RotationOptions): Promise<Rotation> {
  const { finish, extend } = options
  const { tokens } = connect(terminal, options)
  if (finish === true && extend !== undefined) {
    throw wrongUsage('Finish the rotation or extend it, not both.')
  }
  if (finish === true) return tokens.finishRotation(id)
  if (extend !== undefined) return tokens.extendRotation(id, { overlapSeconds: extend })
  return tokens.rotation(id)
}

function spelled(terminal: Terminal, rotation: Rotation): string {
  const { old, successor, endsAt, safeToFinish, reason } = rotation
  return [
    facts([
      ['old token', `${old.id} ${old.preview}, ${old.state}`],
      ['successor', `${successor.id} ${successor.preview}, ${successor.state}`],
      [old.state === 'active' ? 'old secret stops' : 'old secret stopped', endsAt],
      ['last used', old.lastUsedAt ?? 'never'],
      ['safe to finish', `${safeToFinish ? 'yes' : 'no'}: ${reason}`],
    ]),
    '',
    'Who uses the old secret since the rotation:',
    callersText(terminal, rotation.oldCallers),
    '',
    'Who uses the new one:',
    callersText(terminal, rotation.newCallers),
  ].join('\n')
}

function callersText(terminal: Terminal, { items, others }: RotationCallers): string {
  const rows = [
    ...items,
    ...(others === null ? [] : [{ ip: 'others', userAgent: null, via: '', ...others }]),
  ]
  return tableOr(terminal, {
    rows,
    columns: [
      { title: 'FROM', of: (row) => orDash(row.ip), whole: true },
      { title: 'AGENT', of: (row) => orDash(row.userAgent) },
      { title: 'VIA', of: (row) => orDash(row.via) },
      { title: 'USES', of: (row) => String(row.uses), whole: true },
      { title: 'LAST USED', of: (row) => minute(row.lastUsedAt), whole: true },
    ],
    empty: 'Nobody.',
  })
}
