import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { readConfig } from '../../config.ts'
import { branch, leaf } from '../command.ts'
import { withCore } from '../offline.ts'
import { answerSecret, type JsonOption } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

export function adminCommands(program: Command, terminal: Terminal): void {
  const admin = branch(program, 'admin', 'Break-glass commands, for whoever holds the database')
  leaf(admin, 'reset-password', {
    summary: 'Give a user a one-time password and make them an active admin, offline',
    details:
      'The way back in when nobody can log in. Needs the database and its key, so run it on the server’s machine, as the server’s user and with its settings, while the server is stopped. Ends the user’s logins and is audited. Only the password goes to stdout.',
    examples: [
      'mintmark admin reset-password',
      'MINTMARK_DATA_DIR=/var/lib/mintmark mintmark admin reset-password alice',
    ],
  })
    .argument('[username]', 'default: the first admin’s, MINTMARK_BOOTSTRAP_USERNAME')
    .action(async (given: string | undefined, options: JsonOption) => {
      const username = given ?? firstAdmin(terminal)
      const { admin, oneTimePassword } = await withCore(terminal, (core) =>
        core.breakGlass(username),
      )
      const password = oneTimePassword?.reveal() ?? ''
      answerSecret(terminal, {
        ...options,
        document: { userId: admin.id, username: admin.username, oneTimePassword: password },
        secret: password,
        before: `${visible(admin.username)} is an active admin. One-time password:`,
        after: [
          'It is shown only now and works once, within a day.',
          `Start the server, then: mintmark login ${visible(admin.username)}`,
        ],
      })
    })
}

function firstAdmin({ env }: Terminal): string {
  const config = readConfig({ env, readFile: (path) => readFileSync(path, 'utf8') })
  return config.bootstrap.username
}
