import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openCore } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { Secret } from '../../src/core/secret.ts'
import type { HeldToken, HeldUser, Ledger } from './ledger.ts'
import type { Rest } from './rest.ts'

/** Asks a running server about everything that it ever acknowledged. Returns what does not fit. */
export async function sweep(rest: Rest, ledger: Ledger): Promise<string[]> {
  const users = await rest.all('/users')
  const tokens = await rest.all('/tokens')
  return [
    ...compare(
      ledger.users.filter(({ state }) => state !== 'deleted').map(userLine),
      users
        .filter(({ username }) => username !== 'admin')
        .map((user) => userLine({ ...user, state: user.active ? 'active' : 'disabled' })),
    ),
    ...compare(
      ledger.tokens.map(tokenLine),
      tokens.filter(({ via }) => via !== 'bootstrap').map(tokenLine),
    ),
    ...(await wrongVerdicts(rest, ledger.tokens)),
  ]
}

function userLine({ id, username, state }: HeldUser): string {
  return `user ${id} "${username}" ${state}`
}

function tokenLine({ id, name, state, owner }: HeldToken): string {
  return `token ${id} "${name}" ${state} of ${owner.id}`
}

function compare(acknowledged: string[], found: string[]): string[] {
  const there = new Set(found)
  const expected = new Set(acknowledged)
  return [
    ...acknowledged.filter((line) => !there.has(line)).map((line) => `lost: ${line}`),
    ...found.filter((line) => !expected.has(line)).map((line) => `unexpected: ${line}`),
  ]
}

const PARALLEL_QUESTIONS = 16

async function wrongVerdicts(rest: Rest, tokens: HeldToken[]): Promise<string[]> {
  const problems: string[] = []
  const queue = [...tokens]
  const ask = async () => {
    for (let token = queue.pop(); token !== undefined; token = queue.pop()) {
      const expected = token.state === 'active' && token.owner.state === 'active'
      const active = await rest.isActive(token.secret)
      if (active === expected) continue
      problems.push(
        `wrong verdict: ${tokenLine(token)} (${token.owner.state}) is ${active ? '' : 'not '}active`,
      )
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_QUESTIONS }, ask))
  return problems
}

/** What must hold between the rows of a database, each as a query for rows that break it. */
const INVARIANTS: Record<string, string> = {
  'a token without its audit record': `select id from token where id not in
    (select subject_id from audit
      where action in ('token.created', 'token.rotated', 'session.opened'))`,
  'an audit record without its token': `select subject_id as id from audit
    where action in ('token.created', 'token.rotated') and subject_id not in (select id from token)`,
  'a token without its change-log row': `select id from token
    where id not in (select subject_id from change where subject = 'token')`,
  'a revoked token without its audit record': `select id from token where revoked_at_ms is not null
    and id not in
      (select subject_id from audit where action in ('token.revoked', 'session.closed'))`,
  'a recorded revocation of a token that is not revoked': `select id from token
    where revoked_at_ms is null
    and id in (select subject_id from audit where action = 'token.revoked')`,
  'two records of one change': `select subject_id as id from audit
    where action in ('token.created', 'token.rotated', 'token.revoked', 'user.created', 'user.deleted')
    group by action, subject_id having count(*) > 1`,
  'a superseded token without a successor': `select old.id from token old
    left join token new on new.id = old.superseded_by and new.family_id = old.family_id
    where old.superseded_at_ms is not null and new.id is null and old.kind <> 'oauth_code'`,
  'two live tokens of one family': `select family_id as id from token
    where revoked_at_ms is null and superseded_at_ms is null
      and kind not in ('oauth_access', 'oauth_code')
    group by family_id having count(*) > 1`,
  'a deleted user with a live token': `select token.id from token join user on user.id = owner_id
    where deleted_at_ms is not null and revoked_at_ms is null`,
  'a deletion without its audit record, or the other way round': `select id from user
    where (deleted_at_ms is not null) <>
      (id in (select subject_id from audit where action = 'user.deleted'))`,
}

/**
 * Opens a copy of what a killed server left behind, as a restart would find it, and checks the file,
 * the rows against each other, and the audit chain. Returns what does not fit.
 */
export async function inspectFiles(dataDir: string): Promise<string[]> {
  const copy = mkdtempSync(join(tmpdir(), 'mintmark-inspect-'))
  try {
    // Without the -shm file: it dies with the machine, and must not be needed.
    for (const name of ['master.key', 'mintmark.db', 'mintmark.db-wal']) {
      if (existsSync(join(dataDir, name))) copyFileSync(join(dataDir, name), join(copy, name))
    }
    return [...inspectRows(join(copy, 'mintmark.db')), ...(await inspectChain(copy))]
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

function inspectRows(file: string): string[] {
  const db = new DatabaseSync(file)
  try {
    const integrity = Object.values(db.prepare('pragma integrity_check').get() ?? {})[0]
    const foreignKeys = db.prepare('pragma foreign_key_check').all()
    return [
      ...(integrity === 'ok' ? [] : [`integrity_check: ${integrity}`]),
      ...foreignKeys.map((row) => `foreign_key_check: ${JSON.stringify(row)}`),
      ...Object.entries(INVARIANTS).flatMap(([problem, query]) =>
        db
          .prepare(query)
          .all()
          .map(({ id }) => `${problem}: ${id}`),
      ),
    ]
  } finally {
    db.close()
  }
}

async function inspectChain(dataDir: string): Promise<string[]> {
  const config = readConfig({ env: { MINTMARK_DATA_DIR: dataDir }, readFile: () => '' })
  const masterKey = new Secret(readFileSync(join(dataDir, 'master.key'), 'utf8').trim())
  const { core, store } = await openCore(config, { masterKey })
  try {
    const verdict = await core.verifyAudit()
    if (verdict.intact) return []
    return [`audit chain at ${verdict.firstBadSequence}: ${verdict.problem}`]
  } finally {
    await store.close()
  }
}
