import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditRecord } from '../../src/core/audit/event.ts'
import type { ChainVerdict } from '../../src/core/audit/verify.ts'
import type { Caller } from '../../src/core/caller.ts'
import { type Core, createCore } from '../../src/core/core.ts'
import type { Group } from '../../src/core/groups/group.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Store } from '../../src/core/store.ts'
import type { Issued, TokenWish } from '../../src/core/tokens/issue.ts'
import { type Limits, UNLIMITED } from '../../src/core/tokens/token.ts'
import type { Demand, Verdict } from '../../src/core/tokens/verdict.ts'
import type { UserWish } from '../../src/core/users/manage.ts'
import type { User } from '../../src/core/users/user.ts'
import type { Writes } from '../../src/core/writes.ts'
import { openStore } from '../../src/store/database.ts'
import { newDatabase, type TestDatabase } from './database.ts'
import type { TestClock } from './server.ts'

export const SECOND_MS = 1000
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000

export const ORIGIN = { ip: '192.0.2.7', requestId: 'request-1', via: 'api' } as const
export const ADMIN_PASSWORD = 'kites over the harbour'

export interface TestCore {
  core: Core
  store: Store
  clock: TestClock
  database: TestDatabase
  masterKey: Secret
  /** Bootstrapped FULL_ACCESS token of the first admin. */
  admin: Caller
  adminSecret: string
  close(): Promise<void>
  /** Closes, then opens the same file again. */
  reopen(): Promise<void>
  verify(secret: Secret | string, demand?: Demand): Promise<Verdict>
  /** `active`, or why not. */
  state(secret: Secret | string, demand?: Demand): Promise<string>
  /** Whom a secret stands for; throws when it is not active. */
  callerOf(secret: Secret | string): Promise<Caller>
  makeUser(wish: Partial<UserWish> & { username: string }): Promise<User>
  makeGroup(name: string): Promise<Group>
  /** A token of a user, issued by the admin. */
  issue(
    owner: User | undefined,
    wish?: Partial<Omit<TokenWish, 'limits'>> & { limits?: Partial<Limits> },
  ): Promise<Issued>
  write<T>(work: (writes: Writes) => Promise<T>): Promise<T>
  /** The whole trail, oldest first. */
  trail(): Promise<AuditRecord[]>
  verifyChain(): Promise<ChainVerdict>
  /** Alters the database behind the server's back. */
  tamper(sql: string): Promise<void>
  /** Reads the database behind the server's back. */
  query(sql: string): Promise<Record<string, unknown>[]>
}

/** The whole domain over a real database of its own, without HTTP. */
export async function openTestCore(): Promise<TestCore> {
  const dir = mkdtempSync(join(tmpdir(), 'mintmark-core-'))
  const database = await newDatabase(dir)
  const masterKey = new Secret(randomBytes(32).toString('base64url'))
  const adminSecret = randomBytes(32).toString('base64url')
  let nowMs = Date.UTC(2030, 0, 1)
  let names = 0
  const clock: TestClock = {
    now: () => nowMs,
    advance: (ms) => {
      nowMs += ms
    },
  }

  async function open() {
    const store = await openStore(database.config, clock)
    const core = await createCore({ store, clock, random: randomBytes, masterKey })
    await core.bootstrap({
      username: 'root',
      password: new Secret(ADMIN_PASSWORD),
      token: new Secret(adminSecret),
    })
    return { store, core }
  }

  let opened = await open()

  const test: TestCore = {
    get core() {
      return opened.core
    },
    get store() {
      return opened.store
    },
    clock,
    database,
    masterKey,
    get admin() {
      return admin
    },
    adminSecret,
    async close() {
      await opened.store.close()
      await database.drop()
      rmSync(dir, { recursive: true, force: true })
    },
    async reopen() {
      await opened.store.close()
      opened = await open()
    },
    verify: async (secret, demand) => opened.core.verifier.verify(plain(secret), demand),
    async state(secret, demand) {
      const verdict = await test.verify(secret, demand)
      return verdict.active ? 'active' : verdict.reason
    },
    async callerOf(secret) {
      const verdict = await test.verify(secret, { ip: ORIGIN.ip })
      if (!verdict.active) throw new Error(`The secret is ${verdict.reason}.`)
      return { principal: verdict.principal, origin: ORIGIN }
    },
    makeUser: (wish) => test.write((w) => w.createUser({ caller: test.admin, wish })),
    makeGroup: (name) => test.write((w) => w.createGroup({ caller: test.admin, wish: { name } })),
    issue: (owner, { limits, ...wish } = {}) =>
      test.write((w) =>
        w.issueToken({
          caller: test.admin,
          via: 'api',
          wish: {
            kind: 'api',
            name: `token ${++names}`,
            expires: 'never',
            ...(owner === undefined ? {} : { ownerId: owner.id }),
            ...wish,
            limits: { ...UNLIMITED, ...limits },
          },
        }),
      ),
    write: (work) => opened.core.write(work),
    trail: () => opened.store.audit.after(0, 1_000_000),
    verifyChain: () => opened.core.verifyAudit(),
    tamper: database.tamper,
    query: database.query,
  }
  const admin = await test.callerOf(adminSecret)
  return test
}

function plain(secret: Secret | string): string {
  return typeof secret === 'string' ? secret : secret.reveal()
}

/** How each attempt ended: `ok`, or the code it was refused with. */
export async function outcomes(attempts: readonly Promise<unknown>[]): Promise<string[]> {
  const results = await Promise.allSettled(attempts)
  return results.map((result) =>
    result.status === 'fulfilled' ? 'ok' : (result.reason.code ?? String(result.reason)),
  )
}
