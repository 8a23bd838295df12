import type { Client, Group, Member, Mode } from '@mintmark/sdk'
import type { Command } from 'commander'
import { answerBlastRadius } from '../blast-radius-text.ts'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { groupIdOf, userIdOf } from '../names.ts'
import { answer, day, type JsonOption, orDash, tableOr } from '../output.ts'
import { confirm } from '../prompt.ts'
import { facts } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { modeOf } from '../values.ts'

export function groupCommands(program: Command, terminal: Terminal): void {
  const group = branch(program, 'group', 'Manage groups and their members')
  listGroups(group, terminal)
  createGroup(group, terminal)
  showGroup(group, terminal)
  updateGroup(group, terminal)
  deleteGroup(group, terminal)
  addMember(group, terminal)
  removeMember(group, terminal)
}

function listGroups(group: Command, terminal: Terminal): void {
  const command = leaf(group, 'list', {
    summary: 'List groups; admins see all, others their own',
  }).option('--text <text>', 'only those whose names hold this')
  paged(command).action(async (options: ListOptions & { text?: string }) => {
    const { groups } = connect(terminal)
    await printList(terminal, options, {
      list: (page) =>
        groups.list({ ...page, ...(options.text === undefined ? {} : { text: options.text }) }),
      empty: 'No groups match. Make one: mintmark group create <name>',
      columns: [
        { title: 'ID', of: (row) => row.id, whole: true },
        { title: 'NAME', of: (row) => row.name },
        { title: 'DESCRIPTION', of: (row) => orDash(row.description), extra: true },
        { title: 'CREATED', of: (row) => day(row.createdAt), extra: true },
      ],
    })
  })
}

function createGroup(group: Command, terminal: Terminal): void {
  leaf(group, 'create', {
    summary: 'Create a group',
    examples: ['mintmark group create builders --description "who builds the releases"'],
  })
    .argument('<name>', 'unique name')
    .option('--description <text>', 'what it is for')
    .option('--parent <group>', 'name or id of the group it belongs to')
    .action(
      async (name: string, options: JsonOption & { description?: string; parent?: string }) => {
        const client = connect(terminal)
        const { description, parent } = options
        const made = await client.groups.create({
          name,
          ...(description === undefined ? {} : { description }),
          ...(parent === undefined ? {} : { parentId: await groupIdOf(client, parent) }),
        })
        answer(terminal, { ...options, document: made, text: () => about(made) })
      },
    )
}

function showGroup(group: Command, terminal: Terminal): void {
  leaf(group, 'show', { summary: 'Show a group with its members' })
    .argument('<group>', 'name or id')
    .action(async (name: string, options: JsonOption) => {
      const client = connect(terminal)
      const id = await groupIdOf(client, name)
      const [found, members] = await Promise.all([client.groups.get(id), client.groups.members(id)])
      answer(terminal, {
        ...options,
        document: { ...found, members },
        text: () => `${about(found)}\n\n${memberTable(terminal, members, found)}`,
      })
    })
}

function updateGroup(group: Command, terminal: Terminal): void {
  changing(group, 'update', { summary: 'Rename or describe a group' })
    .argument('<group>', 'name or id')
    .option('--name <name>', 'new name')
    .option('--description <text>', 'new description')
    .action(
      async (group: string, options: ChangeOption & { name?: string; description?: string }) => {
        const { name, description } = options
        if (name === undefined && description === undefined) throw wrongUsage('Say what to change.')
        const client = connect(terminal, options)
        const changed = await client.groups.update(await groupIdOf(client, group), {
          ...(name === undefined ? {} : { name }),
          ...(description === undefined ? {} : { description }),
        })
        answer(terminal, { ...options, document: changed, text: () => about(changed) })
      },
    )
}

function deleteGroup(group: Command, terminal: Terminal): void {
  changing(group, 'delete', { summary: 'Delete a group with its memberships' })
    .argument('<group>', 'name or id')
    .option('--dry-run', 'only show which tokens would be hit')
    .option('--yes', 'do not ask')
    .action(async (name: string, options: ChangeOption & { yes?: boolean; dryRun?: boolean }) => {
      const client = connect(terminal, options)
      const id = await groupIdOf(client, name)
      if (options.dryRun === true) {
        answerBlastRadius(terminal, options, await client.groups.deleteDryRun(id))
        return
      }
      const question = `Delete the group "${visible(name)}" with its memberships?`
      await confirm(terminal, { yes: options.yes, question })
      await client.groups.delete(id)
      const text = () => `Deleted the group ${visible(name)}.`
      answer(terminal, { ...options, document: { deleted: id }, text })
    })
}

function addMember(group: Command, terminal: Terminal): void {
  changing(group, 'add-member', {
    summary: 'Add a member, or change the mode of one',
    examples: ['mintmark group add-member builders alice WRITE'],
  })
    .argument('<group>', 'name or id')
    .argument('<user>', 'username or id')
    .argument('[mode]', 'READ, WRITE or ADMIN (default: READ)', modeOf)
    .action(async (...words: [string, string, Mode | undefined, ChangeOption]) => {
      const [group, user, mode = 'READ', options] = words
      const client = connect(terminal, options)
      const ids = await idsOf(client, { group, user })
      await client.groups.setMember(ids.groupId, ids.userId, mode)
      answer(terminal, {
        ...options,
        document: { ...ids, mode },
        text: () => `${visible(user)} is in ${visible(group)} with ${mode}.`,
      })
    })
}

function removeMember(group: Command, terminal: Terminal): void {
  changing(group, 'remove-member', {
    summary: 'Remove a member; what the group gave is gone from all their tokens at once',
    examples: ['mintmark group remove-member builders alice'],
  })
    .argument('<group>', 'name or id')
    .argument('<user>', 'username or id')
    .action(async (group: string, user: string, options: ChangeOption) => {
      const client = connect(terminal, options)
      const ids = await idsOf(client, { group, user })
      await client.groups.removeMember(ids.groupId, ids.userId)
      answer(terminal, {
        ...options,
        document: { ...ids, removed: true },
        text: () => `${visible(user)} is no longer in ${visible(group)}.`,
      })
    })
}

async function idsOf(client: Client, { group, user }: { group: string; user: string }) {
  const [groupId, userId] = await Promise.all([groupIdOf(client, group), userIdOf(client, user)])
  return { groupId, userId }
}

function about(group: Group): string {
  return facts([
    ['id', group.id],
    ['name', group.name],
    ['description', group.description === '' ? undefined : group.description],
    ['parent', group.parentId ?? undefined],
    ['created', day(group.createdAt)],
  ])
}

function memberTable(terminal: Terminal, rows: Member[], { name }: Group): string {
  return tableOr(terminal, {
    rows,
    empty: `No members. Add one: mintmark group add-member ${visible(name)} <user> READ`,
    columns: [
      { title: 'USER ID', of: (row) => row.userId, whole: true },
      { title: 'USERNAME', of: (row) => row.username },
      { title: 'MODE', of: (row) => row.mode, whole: true },
    ],
  })
}
