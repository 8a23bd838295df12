import { type Client, type Credentials, MintmarkError, type Session } from '@mintmark/sdk'
import type { Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { leaf } from '../command.ts'
import { connect, connectWithoutToken } from '../connect.ts'
import { CliError, wrongUsage } from '../failure.ts'
import { answer, answerSecret, type JsonOption } from '../output.ts'
import { ask, chooseNewPassword, linesOf } from '../prompt.ts'
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

  passwordCommand(program, terminal)

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
    lines === undefined ? await ask(terminal, 'Password', { hidden: true }) : firstLine(lines)
  const credentials: Credentials = { username: name, password }
  try {
    return await session.login(credentials)
  } catch (error) {
    if (!(error instanceof MintmarkError && error.code === 'password_change_required')) throw error
  }
  const withNew = (newPassword: string) => session.login({ ...credentials, newPassword })
  if (lines !== undefined) return withNew(secondLine(lines))
  note(terminal, 'This password works once. Choose your own.')
  return chooseNewPassword(terminal, withNew)
}

function secondLine([, second = '']: string[]): string {
  if (second !== '') return second
  throw new CliError(
    'password_change_required',
    'This password must be replaced. Give the new one as the second line of stdin, or log in on a terminal.',
  )
}

/** The password that a script gives. */
function firstLine([first = '']: string[]): string {
  if (first !== '') return first
  throw wrongUsage('There is no password: the first line of stdin is empty.')
}

function passwordCommand(program: Command, terminal: Terminal): void {
  changing(program, 'password', {
    summary: 'Change your own password, and end your other logins',
    details:
      'With a session in MINTMARK_TOKEN, as `mintmark login` gives one. Who has forgotten theirs asks an administrator: `mintmark user reset-password`.',
    examples: ['mintmark password', 'mintmark password --password-stdin < old-and-new.txt'],
  })
    .option('--password-stdin', 'read the current password and the new one from two lines of stdin')
    .action(async (options: ChangeOption & LoginOptions) => {
      const { session } = connect(terminal, options)
      await changePassword(terminal, { session, options })
      answer(terminal, {
        ...options,
        document: { changed: true },
        text: () => 'Your password is changed. Your other logins have ended.',
      })
    })
}

async function changePassword(
  terminal: Terminal,
  { session, options }: { session: Client['session']; options: LoginOptions },
): Promise<void> {
  const change = (currentPassword: string, newPassword: string) =>
    session.changePassword({ currentPassword, newPassword })
  if (options.passwordStdin === true) {
    const lines = await linesOf(terminal)
    const [, next = ''] = lines
    if (next === '') throw wrongUsage('There is no new password: it is the second line of stdin.')
    return change(firstLine(lines), next)
  }
  const current = await ask(terminal, 'Current password', { hidden: true })
  return chooseNewPassword(terminal, (next) => change(current, next))
}
