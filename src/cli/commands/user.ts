import type { Client, GlobalRole, UserEdit, UserKind, UserWithRights } from '@mintmark/sdk'
import type { Command } from 'commander'
import { answerBlastRadius } from '../blast-radius-text.ts'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { userIdOf } from '../names.ts'
import { answer, answerSecret, day, type JsonOption, minute, orDash } from '../output.ts'
import { confirm } from '../prompt.ts'
import { facts } from '../table.ts'
import { note, type Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { jsonObject, oneOf } from '../values.ts'

const globalRoleOf = oneOf<GlobalRole>(['ADMIN', 'USER'])
const kindOf = oneOf<UserKind>(['person', 'service'])

interface ProfileOptions extends ChangeOption {
  displayName?: string
  email?: string
  globalRole?: GlobalRole
  attributes?: Record<string, unknown>
}

interface CreateOptions extends ProfileOptions {
  kind?: UserKind
  disabled?: boolean
  role?: string[]
}

interface UpdateOptions extends ProfileOptions {
  enable?: boolean
  disable?: boolean
  role?: string[]
  removeRole?: string[]
  dryRun?: boolean
}

interface UserListOptions extends ListOptions {
  text?: string
  kind?: UserKind
  globalRole?: GlobalRole
  active?: boolean
  disabled?: boolean
}

export function userCommands(program: Command, terminal: Terminal): void {
  const user = branch(program, 'user', 'Manage people and service accounts')
  listUsers(user, terminal)
  createUser(user, terminal)
  showUser(user, terminal)
  updateUser(user, terminal)
  deleteUser(user, terminal)
  resetPassword(user, terminal)
}

function listUsers(user: Command, terminal: Terminal): void {
  const command = leaf(user, 'list', {
    summary: 'List users, newest first',
    examples: ['mintmark user list --text ali', 'mintmark user list --global-role admin --active'],
  })
    .option('--text <text>', 'only those whose names hold this')
    .option('--kind <kind>', 'person or service', kindOf)
    .option('--global-role <role>', 'ADMIN or USER', globalRoleOf)
    .option('--active', 'only active ones')
    .option('--disabled', 'only disabled ones')
  paged(command).action(async (options: UserListOptions) => {
    const { text, kind, globalRole, active, disabled } = options
    if (active && disabled) throw wrongUsage('Say --active or --disabled, not both.')
    const { users } = connect(terminal)
    await printList(terminal, options, {
      list: (page) =>
        users.list({
          ...page,
          ...(text === undefined ? {} : { text }),
          ...(kind === undefined ? {} : { kind }),
          ...(globalRole === undefined ? {} : { globalRole }),
          ...(active || disabled ? { active: active === true } : {}),
        }),
      empty: 'No users match. Make one: mintmark user create <username>',
      columns: [
        { title: 'ID', of: (row) => row.id, whole: true },
        { title: 'USERNAME', of: (row) => row.username },
        { title: 'ROLE', of: (row) => row.globalRole, whole: true },
        { title: 'ACTIVE', of: (row) => (row.active ? 'yes' : 'no'), whole: true },
        { title: 'KIND', of: (row) => row.kind, extra: true },
        { title: 'LAST LOGIN', of: (row) => minute(row.lastLoginAt), extra: true },
        { title: 'EMAIL', of: (row) => orDash(row.email), extra: true },
        { title: 'DISPLAY NAME', of: (row) => orDash(row.displayName), extra: true },
      ],
    })
  })
}

function createUser(user: Command, terminal: Terminal): void {
  const command = leaf(user, 'create', {
    summary: 'Create a user or a service account',
    examples: [
      'mintmark user create alice --email alice@example.org',
      'mintmark user create build-robot --kind service --role deployer',
    ],
  }).argument('<username>', 'unique name')
  profile(command)
    .option('--kind <kind>', 'person, or service: it has tokens, but no password', kindOf)
    .option('--disabled', 'disabled at first')
    .option('--role <name>', 'give this role; may be repeated', repeated)
    .action(async (username: string, options: CreateOptions) => {
      const made = await connect(terminal).users.create({
        username,
        ...profileOf(options),
        ...(options.kind === undefined ? {} : { kind: options.kind }),
        ...(options.disabled ? { active: false } : {}),
        ...(options.role === undefined ? {} : { roles: options.role }),
      })
      print(terminal, options, made)
      if (options.json === true) return
      const next = made.kind === 'service' ? `token create ci --owner` : 'user reset-password'
      note(terminal, `\nNext: mintmark ${next} ${visible(made.username)}`)
    })
}

function showUser(user: Command, terminal: Terminal): void {
  leaf(user, 'show', { summary: 'Show a user with roles and groups' })
    .argument('<user>', 'username or id')
    .action(async (name: string, options: JsonOption) => {
      const client = connect(terminal)
      print(terminal, options, await client.users.get(await userIdOf(client, name)))
    })
}

function updateUser(user: Command, terminal: Terminal): void {
  const command = changing(user, 'update', {
    summary: 'Change, disable or enable a user',
    details:
      'What is taken away binds at once, on all tokens of the user. Disabling also ends the user’s logins.',
    examples: [
      'mintmark user update alice --disable',
      'mintmark user update alice --global-role admin --role deployer',
    ],
  }).argument('<user>', 'username or id')
  profile(command)
    .option('--enable', 'let the user in again')
    .option('--disable', 'refuse the user and all of the user’s tokens')
    .option('--role <name>', 'give this role, too; may be repeated', repeated)
    .option('--remove-role <name>', 'take this role away; may be repeated', repeated)
    .option('--dry-run', 'with --disable alone: only show which tokens would be hit')
    .action(async (name: string, options: UpdateOptions) => {
      const client = connect(terminal, options)
      const id = await userIdOf(client, name)
      const edit = await editOf(client, id, options)
      if (options.dryRun === true) {
        if (!onlyDisables(edit)) throw wrongUsage('--dry-run is for --disable alone.')
        answerBlastRadius(terminal, options, await client.users.disableDryRun(id))
        return
      }
      print(terminal, options, await client.users.update(id, edit))
    })
}

async function editOf(client: Client, id: string, options: UpdateOptions): Promise<UserEdit> {
  const { enable, disable, role: added = [], removeRole: removed = [] } = options
  if (enable && disable) throw wrongUsage('Say --enable or --disable, not both.')
  const changesRoles = added.length + removed.length > 0
  const before = changesRoles ? (await client.users.get(id)).roles : []
  const roles = [...before, ...added].filter((role) => !removed.includes(role))
  const edit: UserEdit = {
    ...profileOf(options),
    ...(options.email === '' ? { email: null } : {}),
    ...(enable || disable ? { active: enable === true } : {}),
    ...(changesRoles ? { roles } : {}),
  }
  if (Object.keys(edit).length > 0) return edit
  throw wrongUsage('Say what to change.')
}

function onlyDisables(edit: UserEdit): boolean {
  return edit.active === false && Object.keys(edit).length === 1
}

function deleteUser(user: Command, terminal: Terminal): void {
  changing(user, 'delete', {
    summary: 'Delete a user and revoke everything of theirs',
    examples: ['mintmark user delete bob --yes'],
  })
    .argument('<user>', 'username or id')
    .option('--dry-run', 'only show which tokens would be hit')
    .option('--yes', 'do not ask')
    .action(async (name: string, options: ChangeOption & { yes?: boolean; dryRun?: boolean }) => {
      const client = connect(terminal, options)
      const id = await userIdOf(client, name)
      if (options.dryRun === true) {
        answerBlastRadius(terminal, options, await client.users.deleteDryRun(id))
        return
      }
      const question = `Delete the user "${visible(name)}" and revoke all their tokens for good?`
      await confirm(terminal, { yes: options.yes, question })
      await client.users.delete(id)
      answer(terminal, {
        ...options,
        document: { deleted: id },
        text: () => `Deleted the user ${visible(name)}. All their tokens are dead.`,
      })
    })
}

function resetPassword(user: Command, terminal: Terminal): void {
  changing(user, 'reset-password', {
    summary: 'Give a user a one-time password and end their logins',
    details: 'Only the password goes to stdout.',
    examples: ['mintmark user reset-password alice'],
  })
    .argument('<user>', 'username or id')
    .action(async (name: string, options: ChangeOption) => {
      const client = connect(terminal, options)
      const id = await userIdOf(client, name)
      const { oneTimePassword } = await client.users.resetPassword(id)
      answerSecret(terminal, {
        ...options,
        document: { userId: id, oneTimePassword },
        secret: oneTimePassword,
        before: `One-time password of ${visible(name)}:`,
        after: [
          'It is shown only now and works once, within a day.',
          'Use it with: mintmark login',
        ],
      })
    })
}

function profile(command: Command): Command {
  return command
    .option('--display-name <text>', 'how people call the user')
    .option('--email <address>', 'may be used to log in; "" removes it')
    .option('--global-role <role>', 'ADMIN or USER', globalRoleOf)
    .option('--attributes <json>', 'a JSON object of your own', jsonObject)
}

function profileOf({ displayName, email, globalRole, attributes }: ProfileOptions) {
  return {
    ...(displayName === undefined ? {} : { displayName }),
    ...(email === undefined || email === '' ? {} : { email }),
    ...(globalRole === undefined ? {} : { globalRole }),
    ...(attributes === undefined ? {} : { attributes }),
  }
}

function print(terminal: Terminal, { json }: JsonOption, user: UserWithRights): void {
  const text = () =>
    facts([
      ['id', user.id],
      ['username', user.username],
      ['display name', user.displayName === '' ? undefined : user.displayName],
      ['email', user.email ?? undefined],
      ['kind', user.kind],
      ['global role', user.globalRole],
      ['active', user.active ? 'yes' : 'no'],
      ['password', user.hasPassword ? 'set' : 'none'],
      ['roles', user.roles.join(', ') || 'none'],
      ['groups', user.groups.map(({ name, mode }) => `${name}:${mode}`).join(', ') || 'none'],
      [
        'attributes',
        Object.keys(user.attributes).length === 0 ? undefined : JSON.stringify(user.attributes),
      ],
      ['last login', user.lastLoginAt ?? 'never'],
      ['created', day(user.createdAt)],
    ])
  answer(terminal, { ...(json === undefined ? {} : { json }), document: user, text })
}
