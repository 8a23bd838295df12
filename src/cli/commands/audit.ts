import type { AuditQuery, Client, SubjectType } from '@mintmark/sdk'
import type { Command } from 'commander'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { REFUSED } from '../failure.ts'
import { type ListOptions, paged, printList } from '../list.ts'
import { userIdOf } from '../names.ts'
import { withCore } from '../offline.ts'
import { answer, type JsonOption, orDash } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { oneOf, since } from '../values.ts'

const subjectTypeOf = oneOf<SubjectType>([
  'token',
  'user',
  'group',
  'role',
  'policy',
  'key',
  'server',
])

interface AuditListOptions extends ListOptions {
  actor?: string
  action?: string
  subjectType?: SubjectType
  subject?: string
  from?: string
  to?: string
}

export function auditCommands(program: Command, terminal: Terminal): void {
  const audit = branch(program, 'audit', 'Read and verify the audit trail')
  listEvents(audit, terminal)
  verifyTrail(audit, terminal)
}

function listEvents(audit: Command, terminal: Terminal): void {
  const command = leaf(audit, 'list', {
    summary: 'List who did what, newest first; times are UTC',
    examples: [
      'mintmark audit list --actor alice --from 24h',
      'mintmark audit list --action token.revoked --all --json',
    ],
  })
    .option('--actor <user>', 'only what this user did, by name or id')
    .option('--action <action>', 'only this, such as token.created')
    .option(
      '--subject-type <type>',
      'token, user, group, role, policy, key or server',
      subjectTypeOf,
    )
    .option('--subject <id>', 'only what was done to this')
    .option('--from <when>', '24h, 7d, or an RFC 3339 instant', (text) =>
      since(text, terminal.now()),
    )
    .option('--to <when>', 'the same', (text) => since(text, terminal.now()))
  paged(command).action(async (options: AuditListOptions) => {
    const client = connect(terminal)
    const filter = await filterOf(client, options)
    await printList(terminal, options, {
      list: (page) => client.audit.list({ ...page, ...filter }),
      empty: 'No events match.',
      columns: [
        { title: 'NO', of: (row) => String(row.sequence), whole: true },
        { title: 'AT', of: (row) => row.at.slice(0, 19).replace('T', ' '), whole: true },
        { title: 'ACTION', of: (row) => row.action, whole: true },
        { title: 'ACTOR', of: (row) => orDash(row.actorName) },
        { title: 'SUBJECT', of: (row) => `${row.subjectType} ${row.subjectId}` },
        { title: 'VIA', of: (row) => row.via, extra: true },
        { title: 'IP', of: (row) => orDash(row.ip), extra: true },
      ],
    })
  })
}

async function filterOf(client: Client, options: AuditListOptions): Promise<AuditQuery> {
  const { actor, action, subjectType, subject, from, to } = options
  return {
    ...(actor === undefined ? {} : { actorId: await userIdOf(client, actor) }),
    ...(action === undefined ? {} : { action }),
    ...(subjectType === undefined ? {} : { subjectType }),
    ...(subject === undefined ? {} : { subjectId: subject }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  }
}

function verifyTrail(audit: Command, terminal: Terminal): void {
  leaf(audit, 'verify', {
    summary: 'Prove, offline, that no record of the audit trail was altered or removed',
    details:
      'Opens the database of this machine with the server’s settings, so stop the server first, or run it on a restored backup. Recomputes the hash chain over every record and ends with status 1 at the first that does not fit. Keep the number of records and the last hash elsewhere: a later run proves that nothing was cut off the end.',
    examples: ['MINTMARK_DATA_DIR=/var/lib/mintmark mintmark audit verify'],
  }).action(async (options: JsonOption) => {
    const { stderr } = terminal
    const onProgress = (records: number) => {
      if (stderr.isTTY) stderr.write(`\r${records} records `)
    }
    const verdict = await withCore(terminal, (core) => core.verifyAudit(onProgress))
    if (stderr.isTTY) stderr.write('\r')
    answer(terminal, {
      ...options,
      document: verdict,
      text: () =>
        verdict.intact
          ? `The audit trail is intact: ${verdict.records} records, last hash ${verdict.lastHash}`
          : `The audit trail is BROKEN at record ${verdict.firstBadSequence}: ${verdict.problem}`,
    })
    if (!verdict.intact) process.exitCode = REFUSED
  })
}
