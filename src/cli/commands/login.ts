import { type Credentials, MintmarkError, type Session } from '@mintmark/sdk'
import type { Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { leaf } from '../command.ts'
import { connect, connectWithoutToken } from '../connect.ts'
import { CliError } from '../failure.ts'
import { answer, answerSecret, type JsonOption } from '../output.ts'
import { ask, askNewPassword, linesOf } from '../prompt.ts'
import { facts } from '../table.ts'
import { note, type Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

interface LoginOptions extends JsonOption {
  passwordStdin?: boolean
}

export function loginCommands(program: Command, terminal: Terminal): void {
  leaf(program, 'login', {
    summary: 'Log in with name and password; prints a session token',
    details:
      'Asks for what is missing, without showing passwords. A one-time password must be replaced by one of your own in the same step. Only the token goes to stdout.',
    examples: [
      'export MINTMARK_TOKEN="$(mintmark login alice)"',
      'mintmark login alice --password-stdin < password.txt',
    ],
  })
    .argument('[username]', 'username or email; asked for when left out')
    .option(
      '--password-stdin',
      'read the password from stdin; a second line replaces a one-time password',
    )
    .action(async (username: string | undefined, options: LoginOptions) => {
      const session = await logIn(terminal, { username, options })
      answerSecret(terminal, {
        ...options,
        document: session,
        secret: session.token,
        before: `Logged in as ${visible(session.user.username)} until ${session.expiresAt}.`,
        after: [
          'This session token is shown only now. Commands take it from MINTMARK_TOKEN:',
          '  export MINTMARK_TOKEN=<the token>      (or, next time, "$(mintmark login)")',
          'End the session with: mintmark logout',
        ],
      })
    })

  changing(program, 'logout', {
    summary: 'End the session that MINTMARK_TOKEN belongs to',
    examples: ['mintmark logout && unset MINTMARK_TOKEN'],
  }).action(async (options: ChangeOption) => {
    await connect(terminal, options).session.logout()
    answer(terminal, {
      ...options,
      document: { loggedOut: true },
      text: () => 'Logged out. The token is dead.',
    })
  })

  leaf(program, 'whoami', {
    summary: 'Show whose token MINTMARK_TOKEN is, and what it may do',
  }).action(async (options: JsonOption) => {
    const me = await connect(terminal).session.me()
    const { user, token, rights } = me
    answer(terminal, {
      ...options,
      document: me,
      text: () =>
        facts([
          ['user', `${user.username} (${user.id})`],
          ['token', `${token.name ?? token.kind} (${token.id})`],
          ['expires', token.expiresAt ?? 'never'],
          ['access', rights.accessLevel],
          ['admin', rights.admin ? 'yes' : 'no'],
          ['roles', rights.roles.join(', ') || 'none'],
          ['groups', rights.groups.map(({ name, mode }) => `${name}:${mode}`).join(', ') || 'none'],
          ['scopes', rights.scopes === null ? 'all' : rights.scopes.join(', ') || 'none'],
        ]),
    })
  })
}

async function logIn(
  terminal: Terminal,
  { username, options }: { username: string | undefined; options: LoginOptions },
): Promise<Session> {
  const { session } = connectWithoutToken(terminal)
  const name = username ?? (await ask(terminal, 'Username'))
  const lines = options.passwordStdin === true ? await linesOf(terminal) : undefined
  const password =
    lines === undefined ? await ask(terminal, 'Password', { hidden: true }) : (lines[0] ?? '')
  const credentials: Credentials = { username: name, password }
  try {
    return await session.login(credentials)
  } catch (error) {
    if (!(error instanceof MintmarkError && error.code === 'password_change_required')) throw error
  }
  const newPassword = await replacement(terminal, lines)
  return session.login({ ...credentials, newPassword })
}

async function replacement(terminal: Terminal, lines: string[] | undefined): Promise<string> {
  if (lines === undefined) {
    note(terminal, 'This password works once. Choose your own.')
    return askNewPassword(terminal)
  }
  const [, second = ''] = lines
  if (second !== '') return second
  throw new CliError(
    'password_change_required',
    'This password must be replaced. Give the new one as the second line of stdin, or log in on a terminal.',
  )
}
