import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { databaseAt } from '../../config.ts'
import { leaf } from '../command.ts'
import { wrongUsage } from '../failure.ts'
import { answer, type JsonOption } from '../output.ts'
import { bytesText } from '../progress.ts'
import { facts } from '../table.ts'
import { note, type Terminal } from '../terminal.ts'
import { mustHaveDatabase, rowProgress, wholeInstallation } from '../whole.ts'

const KEY_IS_APART =
  'The master key is NOT in it, and without that key it is useless: keep a copy of the key in another place.'

/** Copies of a whole installation, and the way back. */
export function backupCommands(program: Command, terminal: Terminal): void {
  makeBackup(program, terminal)
  restoreBackup(program, terminal)
  moveInstallation(program, terminal)
}

interface BackupOptions extends JsonOption {
  check?: boolean
}

function makeBackup(program: Command, terminal: Terminal): void {
  leaf(program, 'backup', {
    summary: 'Copy everything into one encrypted file, while servers run',
    details: `Run it where the server runs, as the server's user and with its settings. The copy is of one moment, from either database and for either, is encrypted under the master key, readable by its owner alone, and has counts and digests of every table in it. ${KEY_IS_APART}`,
    examples: [
      'mintmark backup /backups/mintmark-2030-01-31.backup',
      'mintmark backup --check /backups/mintmark-2030-01-31.backup',
    ],
  })
    .argument('<file>', 'a file that does not exist yet')
    .option('--check', 'read an existing backup through instead, and prove that it is whole')
    .action(async (file: string, options: BackupOptions) => {
      const { config, places, masterKey } = await wholeInstallation(terminal)
      const backup = await import('../../backup/backup.ts')
      const progress = rowProgress(terminal)
      const wish = { file, masterKey: masterKey(), onProgress: progress.show }
      try {
        if (options.check === true) {
          const manifest = await backup.checkBackup(wish)
          progress.clear()
          answer(terminal, {
            ...options,
            document: { file, ...manifest },
            text: () => `The backup is whole.\n${manifestText(manifest)}`,
          })
          return
        }
        mustHaveDatabase(config)
        const made = await backup.makeBackup(places, { ...wish, config, nowMs: terminal.now() })
        progress.clear()
        answer(terminal, {
          ...options,
          document: { file, ...made },
          text: () => `${manifestText(made)}\n${bytesText(made.bytes)} in ${file}`,
        })
        if (options.json !== true) note(terminal, KEY_IS_APART)
      } finally {
        progress.clear()
      }
    })
}

interface ManifestText {
  createdAt: string
  release: string
  database: string
  rows: number
  tables: readonly { name: string; rows: number }[]
  auditEnd: { sequence: number } | null
}

function manifestText(manifest: ManifestText): string {
  const rowsOf = (name: string) =>
    String(manifest.tables.find((table) => table.name === name)?.rows ?? 0)
  return facts([
    ['made', manifest.createdAt],
    ['of', `Mintmark ${manifest.release} on ${manifest.database}`],
    ['tokens', rowsOf('token')],
    ['users', rowsOf('user')],
    ['rows', `${manifest.rows} in ${manifest.tables.length} tables`],
    ['audit trail', `up to record ${manifest.auditEnd?.sequence ?? 0}`],
  ])
}

interface RestoreOptions extends JsonOption {
  revocations?: string
  revokeAll?: boolean
  acceptRevokedAlive?: boolean
}

function restoreBackup(program: Command, terminal: Terminal): void {
  leaf(program, 'restore', {
    summary: 'Put a backup into an empty place, and end again what has ended since',
    details:
      'With the settings of the server that is to run on it: MINTMARK_DATABASE_URL names an empty place, of either kind, and the master key is the one of then. Whatever was revoked, disabled or narrowed after the backup was made would come back to life. So one of these is needed: --revocations with the journal that servers keep (MINTMARK_REVOCATION_JOURNAL), an unfiltered export of the audit trail, or the URL of the database that is given up; or --revoke-all; or --accept-revoked-alive. The journal in the data directory is taken by itself where it goes on from the backup. Logins end in any case, and webhooks are disabled. Audited.',
    examples: [
      'mintmark restore mintmark-2030-01-31.backup --revocations /backups/revocations.log',
      'mintmark restore mintmark-2030-01-31.backup --revocations sqlite:/var/lib/mintmark/broken.db',
      'MINTMARK_DATABASE_URL=postgres://mintmark@db/mintmark mintmark restore mintmark.backup --revoke-all',
    ],
  })
    .argument('<file>', 'a file that `mintmark backup` made')
    .option(
      '--revocations <file|url>',
      'a journal, an export of the audit trail, or a database (sqlite:… or postgres://…)',
    )
    .option(
      '--revoke-all',
      'end every token and grant, because nobody knows which had ended; users who were disabled since, and passwords and client secrets that were replaced, come back',
    )
    .option('--accept-revoked-alive', 'let what was revoked since come back to life')
    .action(async (file: string, options: RestoreOptions) => {
      const { config, places, masterKey, prepareDirectories } = await wholeInstallation(terminal)
      const { restoreBackup: restore } = await import('../../backup/restore.ts')
      const since = sinceOf(options, config)
      const progress = rowProgress(terminal)
      try {
        const key = masterKey()
        // An installation that was lost leaves its marker, on purpose.
        prepareDirectories({ mayBeLost: true })
        const done = await restore(places, {
          config,
          masterKey: key,
          file,
          since,
          nowMs: terminal.now(),
          onProgress: progress.show,
        })
        progress.clear()
        answer(terminal, {
          ...options,
          document: done,
          text: () => restoredText(done),
        })
      } finally {
        progress.clear()
      }
    })
}

function sinceOf(
  { revocations, revokeAll, acceptRevokedAlive }: RestoreOptions,
  config: Parameters<typeof databaseAt>[1] & { revocationJournal: string | undefined },
) {
  const given = [revocations, revokeAll, acceptRevokedAlive].filter((each) => each !== undefined)
  if (given.length > 1) {
    throw wrongUsage('Say one of --revocations, --revoke-all and --accept-revoked-alive.')
  }
  if (revokeAll === true) return 'revoke-all' as const
  if (acceptRevokedAlive === true) return 'accept-revoked-alive' as const
  if (revocations !== undefined) {
    return /^(sqlite:|postgres(ql)?:\/\/)/.test(revocations)
      ? { database: databaseAt(revocations, config) }
      : { file: revocations }
  }
  if (config.revocationJournal !== undefined && existsSync(config.revocationJournal)) {
    return { file: config.revocationJournal }
  }
  throw wrongUsage(
    'Nothing tells what was revoked after the backup was made. Say --revocations with a journal, an export of the audit trail or the old database; or --revoke-all; or --accept-revoked-alive.',
  )
}

function restoredText(
  done: ManifestText & {
    ended: Record<string, number>
    webhooks: number
    open: Record<string, number>
    knownUpTo: number | null
  },
): string {
  const ended = Object.entries(done.ended)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what}`)
  const open = Object.entries(done.open).map(([action, count]) => `${action} (${count})`)
  return [
    'Restored and verified.',
    manifestText(done),
    `Ended again: ${ended.length === 0 ? 'nothing' : ended.join(', ')}.`,
    done.knownUpTo === null
      ? 'What ended after the backup was made is not known.'
      : `Endings are known up to record ${done.knownUpTo} of the audit trail.`,
    ...(open.length === 0
      ? []
      : [`Look at these changes since, and make them again: ${open.join(', ')}.`]),
    ...(done.webhooks === 0
      ? []
      : [
          `Webhooks are disabled (${done.webhooks}), and what they were to be sent is dropped: see that address and secret still hold (mintmark webhook list), then mintmark webhook update <id> --enable.`,
        ]),
    'Tokens that were made after the backup do not exist. Start the server.',
  ].join('\n')
}

interface MoveOptions extends JsonOption {
  from: string
  to: string
}

function moveInstallation(program: Command, terminal: Terminal): void {
  leaf(program, 'move', {
    summary: 'Carry everything over to another database, from SQLite to PostgreSQL or back',
    details:
      "Stop every server first, and run it with the server's settings, so that the master key is at hand: it stays the same. The new place must be empty. Everything arrives or nothing does; every table is verified by count and digest, and the audit trail by its chain. The old database stays as it is: do not start a server on it again.",
    examples: [
      'mintmark move --from sqlite:data/mintmark.db --to postgres://mintmark@db.example.com/mintmark',
      'mintmark move --from postgres://mintmark@db.example.com/mintmark --to sqlite:data/mintmark.db',
    ],
  })
    .requiredOption('--from <url>', 'sqlite:PATH or postgres://…')
    .requiredOption('--to <url>', 'sqlite:PATH or postgres://…')
    .action(async ({ from, to, ...options }: MoveOptions) => {
      const { config, places, masterKey } = await wholeInstallation(terminal)
      const { moveInstallation: move } = await import('../../backup/move.ts')
      const progress = rowProgress(terminal)
      const startedAtMs = terminal.now()
      try {
        const moved = await move(places, {
          config,
          masterKey: masterKey(),
          from: databaseAt(from, config),
          to: databaseAt(to, config),
          onProgress: progress.show,
        })
        progress.clear()
        const seconds = Math.round((terminal.now() - startedAtMs) / 100) / 10
        answer(terminal, {
          ...options,
          document: { ...moved, seconds },
          text: () =>
            [
              `Moved ${moved.rows} rows in ${moved.tables.length} tables in ${seconds} s; all of them, and the chain of ${moved.auditRecords} audit records, are verified.`,
              'Give the servers the new MINTMARK_DATABASE_URL and the same master key. Put the old database away: a server on it would bring back what is revoked from now on.',
            ].join('\n'),
        })
      } finally {
        progress.clear()
      }
    })
}
