import type { Client, OAuthGrant, OAuthGrantQuery } from '@mintmark/sdk'
import type { Command } from 'commander'
import { answerBlastRadius } from '../blast-radius-text.ts'
import { type ChangeOption, changing } from '../change.ts'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { clientIdOf, grantId, userIdOf } from '../names.ts'
import { answer, day, orDash } from '../output.ts'
import type { Terminal } from '../terminal.ts'

export function grantCommands(program: Command, terminal: Terminal): void {
  const grant = branch(program, 'grant', 'List and withdraw what users let OAuth clients do')
  listGrants(grant, terminal)
  withdrawGrant(grant, terminal)
}

interface GrantListOptions extends ListOptions {
  user?: string
  client?: string
  ended?: boolean
}

function listGrants(grant: Command, terminal: Terminal): void {
  const list = leaf(grant, 'list', {
    summary: 'List grants, newest first; admins see all, others their own',
    examples: ['mintmark grant list --user alice', 'mintmark grant list --client portal --ended'],
  })
    .option('--user <user>', 'only what this user gave, by name or id')
    .option('--client <client>', 'only what this client was given, by client id or id')
    .option('--ended', 'also those that were withdrawn or are over')
  paged(list).action(async (options: GrantListOptions) => {
    const client = connect(terminal)
    const filter = await filterOf(client, options)
    await printList(terminal, options, {
      list: (page) => client.grants.list({ ...page, ...filter }),
      empty: 'No grants match.',
      columns: [
        { title: 'ID', of: (row) => row.id, whole: true },
        { title: 'USER', of: (row) => row.user.username ?? row.user.id },
        { title: 'CLIENT', of: (row) => row.client.name ?? row.client.id },
        { title: 'ENDS', of: endOf, whole: true },
        { title: 'SCOPES', of: (row) => orDash(row.scopes.join(', ')), extra: true },
        { title: 'GIVEN', of: (row) => day(row.createdAt), whole: true, extra: true },
      ],
    })
  })
}

function withdrawGrant(grant: Command, terminal: Terminal): void {
  changing(grant, 'withdraw', {
    summary: 'Withdraw a grant; all tokens that came of it are dead when this returns',
    details: 'Does not ask first: the user can let the client in again.',
    examples: ['mintmark grant withdraw <id>'],
  })
    .argument('<id>', 'id of the grant')
    .option('--dry-run', 'only show which tokens would be hit')
    .action(async (id: string, options: ChangeOption & { dryRun?: boolean }) => {
      if (options.dryRun === true) {
        const radius = await connect(terminal, options).grants.withdrawDryRun(grantId(id))
        answerBlastRadius(terminal, options, radius)
        return
      }
      const done = await connect(terminal, options).grants.withdraw(grantId(id))
      answer(terminal, {
        ...options,
        document: done,
        text: () =>
          [
            'Withdrawn. Revoked tokens:',
            ...(done.revoked.length === 0 ? ['none'] : done.revoked),
          ].join('\n  '),
      })
    })
}

async function filterOf(
  client: Client,
  { user, client: name, ended }: GrantListOptions,
): Promise<OAuthGrantQuery> {
  return {
    ...(user === undefined ? {} : { userId: await userIdOf(client, user) }),
    ...(name === undefined ? {} : { clientId: await clientIdOf(client, name) }),
    ...(ended === true ? { all: true } : {}),
  }
}

function endOf({ revokedAt, expiresAt }: OAuthGrant): string {
  return revokedAt === null ? day(expiresAt) : 'withdrawn'
}
