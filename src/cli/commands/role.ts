import type { Role } from '@mintmark/sdk'
import type { Command } from 'commander'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { answer, type JsonOption, orDash, tableOr } from '../output.ts'
import { confirm } from '../prompt.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

interface RoleOptions extends ChangeOption {
  description?: string
  scope?: string[]
}

export function roleCommands(program: Command, terminal: Terminal): void {
  const role = branch(program, 'role', 'Manage roles: named rights, each with the scopes it brings')
  listRoles(role, terminal)
  createRole(role, terminal)
  updateRole(role, terminal)
  deleteRole(role, terminal)
}

function listRoles(role: Command, terminal: Terminal): void {
  leaf(role, 'list', { summary: 'List all roles' }).action(async (options: JsonOption) => {
    const items = await connect(terminal).roles.list()
    answer(terminal, {
      ...options,
      document: { items },
      text: () =>
        tableOr(terminal, {
          rows: items,
          empty: 'No roles. Make one: mintmark role create <name> --scope <scope>',
          columns: [
            { title: 'NAME', of: (row) => row.name },
            { title: 'SCOPES', of: (row) => orDash(row.scopes.join(', ')) },
            { title: 'DESCRIPTION', of: (row) => orDash(row.description), extra: true },
          ],
        }),
    })
  })
}

function createRole(role: Command, terminal: Terminal): void {
  leaf(role, 'create', {
    summary: 'Define a role',
    examples: ['mintmark role create deployer --scope deploy --scope rollback'],
  })
    .argument('<name>', 'unique name')
    .option('--description <text>', 'what it is for')
    .option('--scope <scope>', 'a scope it brings; may be repeated', repeated)
    .action(async (name: string, options: RoleOptions) => {
      const made = await connect(terminal).roles.create({ name, ...editOf(options) })
      answer(terminal, { ...options, document: made, text: () => about(made) })
    })
}

function updateRole(role: Command, terminal: Terminal): void {
  changing(role, 'update', {
    summary: 'Change a role; scopes taken away are gone from all tokens at once',
    examples: ['mintmark role update deployer --scope deploy'],
  })
    .argument('<name>', 'name of the role')
    .option('--description <text>', 'new description')
    .option('--scope <scope>', 'replaces the scopes so far; may be repeated', repeated)
    .option('--no-scopes', 'take all scopes away')
    .action(async (name: string, options: RoleOptions & { scopes: boolean }) => {
      const edit = { ...editOf(options), ...(options.scopes ? {} : { scopes: [] }) }
      if (Object.keys(edit).length === 0) throw wrongUsage('Say what to change.')
      const changed = await connect(terminal, options).roles.update(name, edit)
      answer(terminal, { ...options, document: changed, text: () => about(changed) })
    })
}

function deleteRole(role: Command, terminal: Terminal): void {
  changing(role, 'delete', { summary: 'Delete a role; everyone loses it' })
    .argument('<name>', 'name of the role')
    .option('--yes', 'do not ask')
    .action(async (name: string, options: ChangeOption & { yes?: boolean }) => {
      const client = connect(terminal, options)
      const question = `Delete the role "${visible(name)}"? Everyone loses it.`
      await confirm(terminal, { yes: options.yes, question })
      await client.roles.delete(name)
      const text = () => `Deleted the role ${visible(name)}.`
      answer(terminal, { ...options, document: { deleted: name }, text })
    })
}

function editOf({ description, scope }: RoleOptions) {
  return {
    ...(description === undefined ? {} : { description }),
    ...(scope === undefined ? {} : { scopes: scope }),
  }
}

function about(role: Role): string {
  return facts([
    ['name', role.name],
    ['description', role.description === '' ? undefined : role.description],
    ['scopes', role.scopes.join(', ') || 'none'],
  ])
}
