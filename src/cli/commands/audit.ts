import { readFileSync } from 'node:fs'
import type { AuditQuery, Checkpoint, Client, SubjectType } from '@mintmark/sdk'
import type { Command } from 'commander'
import { createBar } from '../bar.ts'
import { branch, leaf } from '../command.ts'
import { connect } from '../connect.ts'
import { REFUSED, wrongUsage } from '../failure.ts'
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
  'webhook',
  'server',
])

interface AuditListOptions extends ListOptions {
  actor?: string
  action?: string
  subjectType?: SubjectType
  subjectId?: string
  from?: string
  to?: string
}

export function auditCommands(program: Command, terminal: Terminal): void {
  const audit = branch(program, 'audit', 'Read and verify the audit trail')
  listEvents(audit, terminal)
  listCheckpoints(audit, terminal)
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
      'token, user, group, role, policy, key, webhook or server',
      subjectTypeOf,
    )
    .option('--subject-id <id>', 'only what was done to this')
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
        {
          title: 'SUBJECT',
          of: (row) => `${row.subjectType} ${row.subjectId}`,
          whole: true,
          extra: true,
        },
        { title: 'VIA', of: (row) => row.via, extra: true },
        { title: 'IP', of: (row) => orDash(row.ip), extra: true },
      ],
    })
  })
}

async function filterOf(client: Client, options: AuditListOptions): Promise<AuditQuery> {
  const { actor, action, subjectType, subjectId, from, to } = options
  return {
    ...(actor === undefined ? {} : { actorId: await userIdOf(client, actor) }),
    ...(action === undefined ? {} : { action }),
    ...(subjectType === undefined ? {} : { subjectType }),
    ...(subjectId === undefined ? {} : { subjectId }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  }
}

function listCheckpoints(audit: Command, terminal: Terminal): void {
  leaf(audit, 'checkpoints', {
    summary: 'Signed statements of how far the trail reached; keep one elsewhere',
    examples: ['mintmark audit checkpoints --json > kept.json'],
  }).action(async (options: JsonOption) => {
    const { items, publicKeyPem } = await connect(terminal).audit.checkpoints()
    answer(terminal, {
      ...options,
      document: { items, publicKeyPem },
      text: () =>
        items.length === 0
          ? 'There is no checkpoint yet; the server signs one every ten minutes.'
          : items.map((item) => JSON.stringify(item)).join('\n'),
    })
  })
}

interface VerifyOptions extends JsonOption {
  checkpoints?: string
}

/** A JSON object per line, or one document with `items`. Throws a CliError. */
function readCheckpoints(file: string): Checkpoint[] {
  try {
    const text = readFileSync(file, 'utf8').trim()
    const isDocument = text.startsWith('{') && text.includes('"items"')
    const found: unknown[] = isDocument
      ? JSON.parse(text).items
      : text.split('\n').map((line) => JSON.parse(line))
    return found.map(checkpointOf)
  } catch (error) {
    throw wrongUsage(`${file} holds no checkpoints: ${(error as Error).message}`)
  }
}

function checkpointOf(value: unknown): Checkpoint {
  const { sequence, hash, atMs, signature } = value as Checkpoint
  const fits = typeof hash === 'string' && typeof signature === 'string'
  if (!fits || !Number.isSafeInteger(sequence) || !Number.isSafeInteger(atMs)) {
    throw new Error('a line lacks sequence, hash, atMs or signature')
  }
  return { sequence, hash, atMs, signature }
}

function verifyTrail(audit: Command, terminal: Terminal): void {
  leaf(audit, 'verify', {
    summary: 'Prove, offline, that no record of the audit trail was altered or removed',
    details:
      'Opens the database of this machine with the server’s settings, so stop the server first, or run it on a restored backup. Recomputes the hash chain over every record and ends with status 1 at the first that does not fit. The server signs every ten minutes how far the trail reaches, logs that checkpoint and keeps it; --checkpoints takes a file of ones you kept elsewhere (a JSON object per line, or the --json output of `mintmark audit checkpoints`), and so proves that nothing was cut off the end.',
    examples: [
      'MINTMARK_DATA_DIR=/var/lib/mintmark mintmark audit verify',
      'mintmark audit verify --checkpoints kept.json',
    ],
  })
    .option('--checkpoints <file>', 'checkpoints that were kept elsewhere')
    .action(async (options: VerifyOptions) => {
      const bar = createBar(terminal)
      const onProgress = (records: number) => bar.show({ text: `${records} records` })
      const checkpoints =
        options.checkpoints === undefined ? [] : readCheckpoints(options.checkpoints)
      const verdict = await withCore(terminal, (core) =>
        core.verifyAudit({ checkpoints, onProgress }),
      ).finally(bar.clear)
      answer(terminal, {
        ...options,
        document: verdict,
        text: () =>
          verdict.intact
            ? `The audit trail is intact: ${verdict.records} records, ${verdict.checkpoints} checkpoints, last hash ${verdict.lastHash}`
            : `The audit trail is BROKEN at record ${verdict.firstBadSequence}: ${verdict.problem}`,
      })
      if (!verdict.intact) process.exitCode = REFUSED
    })
}
