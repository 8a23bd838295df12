import type { Node } from '@mintmark/sdk'
import type { Command } from 'commander'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { answer, type JsonOption, minute, orDash, tableOr } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

export function nodeCommands(program: Command, terminal: Terminal): void {
  const node = branch(program, 'node', 'Look at the servers that share the database')
  leaf(node, 'list', {
    summary: 'List the servers that share the database, and how far each has applied the changes',
    examples: ['mintmark node list', 'mintmark node list --json'],
  }).action(async (options: JsonOption) => {
    const items = await connect(terminal).nodes.list()
    answer(terminal, { ...options, document: { items }, text: () => asTable(terminal, items) })
  })
}

function asTable(terminal: Terminal, rows: Node[]): string {
  return tableOr(terminal, {
    rows,
    empty: 'No nodes.',
    columns: [
      { title: 'STATE', of: (row) => (row.self ? `${row.state} (asked)` : row.state), whole: true },
      { title: 'ADDRESS', of: (row) => visible(orDash(row.address)), whole: true },
      { title: 'POSITION', of: (row) => String(row.position), whole: true },
      {
        title: 'LEASE',
        of: (row) => (row.leaseSeconds === 0 ? '-' : `${row.leaseSeconds}s`),
        whole: true,
      },
      { title: 'SEEN', of: (row) => minute(row.seenAt), whole: true },
      { title: 'STARTED', of: (row) => minute(row.startedAt), whole: true, extra: true },
      { title: 'VERSION', of: (row) => visible(row.version), whole: true, extra: true },
      { title: 'ID', of: (row) => row.id, whole: true, extra: true },
    ],
  })
}
