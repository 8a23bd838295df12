import type { Command } from 'commander'
import { answerBlastRadius } from '../blast-radius-text.ts'
import { type ChangeOption, changing } from '../change.ts'
import { aboutClient } from '../client-text.ts'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { answer, day, type JsonOption } from '../output.ts'
import { confirm } from '../prompt.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { changeClientCommands } from './client-change.ts'

export function clientCommands(program: Command, terminal: Terminal): void {
  const client = branch(program, 'client', 'Manage OAuth clients: applications that ask for tokens')
  listClients(client, terminal)
  showClient(client, terminal)
  changeClientCommands(client, terminal)
  deleteClient(client, terminal)
}

interface ClientListOptions extends ListOptions {
  text?: string
  enabled?: boolean
  disabled?: boolean
}

function listClients(client: Command, terminal: Terminal): void {
  const list = leaf(client, 'list', {
    summary: 'List OAuth clients, newest first',
    examples: ['mintmark client list --text portal', 'mintmark client list --disabled --json'],
  })
    .option('--text <text>', 'only those whose name, client id or application name holds this')
    .option('--enabled', 'only the ones that are in use')
    .option('--disabled', 'only the ones that are not')
  paged(list).action(async (options: ClientListOptions) => {
    const { clients } = connect(terminal)
    const { text, enabled, disabled } = options
    const filter = {
      ...(text === undefined ? {} : { text }),
      ...(enabled === disabled ? {} : { active: enabled === true }),
    }
    await printList(terminal, options, {
      list: (page) => clients.list({ ...page, ...filter }),
      empty: 'No clients match. Make one: mintmark client create <name> --redirect-uri <uri>',
      columns: [
        { title: 'CLIENT ID', of: (row) => row.clientId, whole: true },
        { title: 'NAME', of: (row) => row.name },
        { title: 'TYPE', of: (row) => row.type, whole: true },
        { title: 'ACTIVE', of: (row) => (row.active ? 'yes' : 'no'), whole: true },
        { title: 'CREATED', of: (row) => day(row.createdAt), whole: true, extra: true },
        { title: 'ID', of: (row) => row.id, whole: true, extra: true },
      ],
    })
  })
}

function showClient(client: Command, terminal: Terminal): void {
  leaf(client, 'show', { summary: 'Show everything about a client but its secret' })
    .argument('<client>', 'client id or id')
    .action(async (id: string, options: JsonOption) => {
      const found = await connect(terminal).clients.get(id)
      answer(terminal, { ...options, document: found, text: () => aboutClient(found) })
    })
}

function deleteClient(client: Command, terminal: Terminal): void {
  changing(client, 'delete', {
    summary: 'Delete a client and revoke all that it was given',
    examples: ['mintmark client delete portal --yes'],
  })
    .argument('<client>', 'client id or id')
    .option('--dry-run', 'only show which tokens would be hit')
    .option('--yes', 'do not ask')
    .action(async (id: string, options: ChangeOption & { yes?: boolean; dryRun?: boolean }) => {
      const { clients } = connect(terminal, options)
      if (options.dryRun === true) {
        answerBlastRadius(terminal, options, await clients.deleteDryRun(id))
        return
      }
      const found = await clients.get(id)
      const question = `Delete the client "${visible(found.name)}" and revoke all its tokens for good?`
      await confirm(terminal, { yes: options.yes, question })
      await clients.delete(found.id)
      const text = () => `Deleted the client ${visible(found.name)}. All its tokens are dead.`
      answer(terminal, { ...options, document: { deleted: found.id }, text })
    })
}
