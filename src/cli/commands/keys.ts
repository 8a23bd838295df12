import type { Key, RotatableKeys } from '@mintmark/sdk'
import { Argument, type Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { rewrap } from '../offline.ts'
import { answer, type JsonOption, minute, tableOr } from '../output.ts'
import { confirm } from '../prompt.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

export function keysCommands(program: Command, terminal: Terminal): void {
  const keys = branch(program, 'keys', 'List and replace the keys of the server')
  listKeys(keys, terminal)
  rotateKeys(keys, terminal)
  rewrapKeys(keys, terminal)
}

function listKeys(keys: Command, terminal: Terminal): void {
  leaf(keys, 'list', { summary: 'List the keys of the server, never what they are' }).action(
    async (options: JsonOption) => {
      const items = await connect(terminal).keys.list()
      answer(terminal, { ...options, document: { items }, text: () => asTable(terminal, items) })
    },
  )
}

const CONSEQUENCES: Record<RotatableKeys, string> = {
  oauth:
    'New tokens of the OpenID provider are signed with new keys; old ones verify for 25 hours.',
  s7: 'New S7 access tokens are signed with a new key; old ones verify until they end.',
  jwt: 'New signed tokens and revocation statements are signed with a new key; verifiers fetch it by themselves.',
  pepper: 'New secrets are digested under a new key; old ones go on working.',
}

function rotateKeys(keys: Command, terminal: Terminal): void {
  const purposes = Object.keys(CONSEQUENCES)
  changing(keys, 'rotate', {
    summary: 'Replace the keys of a purpose; nothing that was issued stops working',
    details:
      'New keys do all new work at once. The old ones are retired: they verify until everything made with them is over, and are deleted then. oauth: both signing keys of the OpenID provider. s7: the signing key of S7 access tokens; resource servers that keep its public key must fetch it anew. jwt: the signing key of the tokens of mintmark token jwt. pepper: the key of the digests of secrets.',
    examples: ['mintmark keys rotate', 'mintmark keys rotate pepper --yes'],
  })
    .addArgument(
      new Argument('[purpose]', 'which keys').choices(purposes).default('oauth', 'oauth'),
    )
    .option('--yes', 'do not ask')
    .action(async (purpose: RotatableKeys, options: ChangeOption & { yes?: boolean }) => {
      const client = connect(terminal, options)
      const question = `Rotate the ${purpose} keys? ${CONSEQUENCES[purpose]}`
      await confirm(terminal, { yes: options.yes, question })
      const items = await client.keys.rotate(purpose)
      answer(terminal, { ...options, document: { items }, text: () => asTable(terminal, items) })
    })
}

function rewrapKeys(keys: Command, terminal: Terminal): void {
  leaf(keys, 'rewrap', {
    summary: 'Change the master key, offline',
    details:
      'Seals the keys in the database anew, so that only the new master key opens it; no token is affected. Run it on the server’s machine, as the server’s user and with its settings, while every server on the database is stopped. With a key file, a new one takes its place; otherwise MINTMARK_NEW_MASTER_KEY (or MINTMARK_NEW_MASTER_KEY_FILE) is the key to change to, which the server is then started with. Interrupted, it is finished by the next start or by running it again. Keep the old master key for as long as you keep backups from before. Audited.',
    examples: [
      'mintmark keys rewrap',
      'MINTMARK_MASTER_KEY_FILE=old.key MINTMARK_NEW_MASTER_KEY_FILE=new.key mintmark keys rewrap',
    ],
  }).action(async (options: JsonOption) => {
    const { keys, keyFile } = await rewrap(terminal)
    const done =
      keys === 0
        ? 'The new master key opens this database already.'
        : `Sealed ${keys} keys with a new master key.`
    const next =
      keyFile === undefined
        ? 'Start the server with the new key as MINTMARK_MASTER_KEY.'
        : `It is in ${visible(keyFile)}. Back it up apart from the database.`
    answer(terminal, {
      ...options,
      document: { keys, keyFile: keyFile ?? null },
      text: () => `${done}\n${next}\nBackups from before need the old master key.`,
    })
  })
}

function asTable(terminal: Terminal, rows: Key[]): string {
  return tableOr(terminal, {
    rows,
    empty: 'No keys.',
    columns: [
      { title: 'PURPOSE', of: (row) => row.purpose, whole: true },
      { title: 'ALGORITHM', of: (row) => row.algorithm, whole: true },
      { title: 'STATE', of: (row) => row.state, whole: true },
      { title: 'CREATED', of: (row) => minute(row.createdAt), whole: true },
      {
        title: 'RETIRED',
        of: (row) => (row.retiredAt === null ? '-' : minute(row.retiredAt)),
        whole: true,
        extra: true,
      },
      { title: 'ID', of: (row) => row.id, whole: true },
    ],
  })
}
