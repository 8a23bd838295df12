import type { Checkpoint } from './audit/checkpoint.ts'
import { HARMLESS_ACTIONS } from './audit/endings.ts'
import type { AuditRecord } from './audit/event.ts'
import { makeCheckpoint } from './audit/make-checkpoint.ts'
import { type AuditProofWish, verifyAudit } from './audit/read.ts'
import { auditRecorder, type Recorder } from './audit/record.ts'
import { recordTransfer, type Transfer } from './audit/record-transfer.ts'
import type { ChainEnd } from './audit/store.ts'
import type { ChainVerdict } from './audit/verify.ts'
import { binder } from './bind.ts'
import { type Bootstrapped, type BootstrapWish, bootstrap, breakGlass } from './bootstrap.ts'
import type { Caller } from './caller.ts'
import { type ClientDirectory, clientDirectory } from './clients/directory.ts'
import type { Clock } from './clock.ts'
import { type EndingFigure, endingFigures, giveNotices } from './events/notices.ts'
import { type ClientId, type GroupId, idMaker, type TokenId, type UserId } from './id.ts'
import { type Once, type OnceResult, once } from './idempotency.ts'
import { importedSecrets } from './imports/find.ts'
import type { BcryptTest } from './imports/foreign.ts'
import * as imports from './imports/import.ts'
import { openShapes } from './imports/shapes.ts'
import * as jobs from './jobs/manage.ts'
import { createWorker, type Worker } from './jobs/work.ts'
import { type Keyring, openKeyring } from './keys/keyring.ts'
import type * as keys from './keys/list.ts'
import { rewrapKeys } from './keys/rewrap.ts'
import { rotateKeys } from './keys/rotate.ts'
import { type ClientLabel, clientLabels, groupNames, userLabels, usernames } from './labels.ts'
import { type LeakOutcome, reportLeaks, reportSettled } from './leaks/report.ts'
import type { NodeRegistry } from './nodes/registry.ts'
import { type OauthEngine, oauthEngine } from './oauth/engine.ts'
import { cursorsFor, type ListCursors } from './page.ts'
import { policyInForce } from './policy/in-force.ts'
import type { PolicyEdit } from './policy/manage.ts'
import type { Policy } from './policy/policy.ts'
import { rateLimiter } from './policy/rate.ts'
import { policyEnds } from './policy/restraint.ts'
import { type PolicyTestStep, testPolicy } from './policy/test-policy.ts'
import { purge } from './purge.ts'
import type { Random } from './random.ts'
import { type Reads, readsOf } from './reads.ts'
import { rehearsalsOf } from './rehearse.ts'
import { type RevocationFeed, revocationFeed } from './revocations/feed.ts'
import type { Secret } from './secret.ts'
import type { Store } from './store.ts'
import { type Explained, type ExplainWish, explainToken } from './tokens/explain.ts'
import * as inventory from './tokens/inventory.ts'
import { quarantineAlarm } from './tokens/quarantine-alarm.ts'
import { type SignedRights, type SignWish, signedRights } from './tokens/sign.ts'
import { stillHolds } from './tokens/still-holds.ts'
import type { Token } from './tokens/token.ts'
import { usageCollector } from './tokens/usage.ts'
import { createVerifier, type Verifier } from './tokens/verify.ts'
import { changePassword, resetPassword } from './users/change-password.ts'
import { lateLogins } from './users/late-logins.ts'
import * as login from './users/login.ts'
import type * as users from './users/manage.ts'
import { loadOwner } from './users/owner.ts'
import { ownerCache } from './users/owner-cache.ts'
import { passwordHasher } from './users/password.ts'
import type { Session } from './users/session.ts'
import { signInFromUpstream } from './users/sign-in.ts'
import { createDeliverer, type Deliverer, testWebhook } from './webhooks/deliver.ts'
import type * as webhooks from './webhooks/manage.ts'
import { NO_SENDER, type Sender } from './webhooks/sender.ts'
import type { Attempt } from './webhooks/webhook.ts'
import { tellingViolations, type Writes, writesOf } from './writes.ts'

/** The one object that all callers hold: the whole domain, without HTTP or SQL. */
export interface Core {
  clock: Clock
  verifier: Verifier
  keyring: Keyring
  random: Random
  /** What the OAuth2 engine works on. */
  oauth: OauthEngine
  /** OAuth clients, from memory. */
  clients: ClientDirectory
  read: Reads
  /** Why a token is good or not, and what it could do; see `explainToken`. */
  explain(caller: Caller, wish: ExplainWish): Promise<Explained>
  /** What a token's holder may have signed; see `signedRights`. */
  sign(caller: Caller, wish: SignWish): Promise<SignedRights>
  /** What ends signed tokens before their time. */
  revocations: RevocationFeed
  /** Runs writes in one transaction: all of them are durable when it resolves, or none happened. */
  write<T>(work: (writes: Writes) => Promise<T>): Promise<T>
  /** The same, at most once per idempotency key. `work` returns what is sent back, as plain JSON. */
  writeOnce<T>(wish: Once, work: (writes: Writes) => Promise<T>): Promise<OnceResult<T>>
  /** Takes over tokens of another system; see `importTokens`. */
  importTokens(wish: Parameters<typeof imports.importTokens>[1]): Promise<imports.RowVerdict[]>
  login(wish: login.LoginWish): Promise<Session>
  openSessionFromToken(wish: Parameters<typeof login.openSessionFromToken>[1]): Promise<Session>
  signInFromUpstream(wish: Parameters<typeof signInFromUpstream>[1]): Promise<Session>
  changePassword(wish: Parameters<typeof changePassword>[1]): Promise<void>
  /** A one-time password for a user. */
  resetPassword(wish: Parameters<typeof resetPassword>[1]): Promise<Secret>
  policy(): Policy
  /** Replaces the keys of a purpose; retired ones verify until what was made with them is over. */
  rotateKeys(wish: Parameters<typeof rotateKeys>[1]): Promise<keys.KeyFacts[]>
  /** Seals all keys under another master key, for a stopped server. Returns how many. */
  rewrapKeys(to: Secret): Promise<number>
  /** Recomputes the whole audit chain; `onProgress` hears how many records are done. */
  verifyAudit(wish?: AuditProofWish): Promise<ChainVerdict>
  /** The audit trail as the journal of revocations follows it. */
  trail: {
    end(): Promise<ChainEnd | undefined>
    /** Undefined: there is no such record. */
    hashOf(sequence: number): Promise<string | undefined>
    /** What took something away. */
    endings(span: { after: number; upTo: number; limit: number }): Promise<AuditRecord[]>
  }
  /** Writes to the audit trail that the installation was moved or restored. */
  recordTransfer(transfer: Transfer): Promise<void>
  /** Signs how far the audit trail reaches; undefined when nothing happened since the last time. */
  checkpoint(): Promise<Checkpoint | undefined>
  /** Cursors of one list. */
  cursors(list: string): ListCursors
  /** Whether there has never been a user. */
  isNew(): Promise<boolean>
  /** Records an export and compiles its query, for `read.exportPage`. */
  beginExport(caller: Caller, wish: inventory.ExportWish): Promise<inventory.CompiledQuery>
  /** Reads a wish for a bulk action, for `writes.createJob`; see `planBulk`. */
  planBulk(caller: Caller, wish: jobs.BulkWish): Promise<jobs.BulkPlan>
  /** What would be hit by what ends tokens. */
  rehearse: ReturnType<typeof rehearsalsOf>
  /** Does bulk actions; see `createWorker`. */
  worker(options: Parameters<typeof createWorker>[1]): Worker
  bootstrap(wish: BootstrapWish): Promise<Bootstrapped | undefined>
  breakGlass(username: string): Promise<Bootstrapped>
  /** Names of users, for showing who owns or made what. Missing: deleted. */
  usernames(ids: UserId[]): Promise<Map<UserId, string>>
  /** The same with their integer identifiers. */
  userLabels(ids: UserId[]): Promise<Map<UserId, users.UserLabel>>
  groupNames(): Promise<Map<GroupId, string>>
  /** When tokens end by the policy, unless they end before; those without such an end are missing. */
  policyEnds(tokens: readonly Token[]): Promise<Map<TokenId, number>>
  /** What a policy would do to the tokens there are; see `testPolicy`. */
  testPolicy(caller: Caller, edit: PolicyEdit): Promise<AsyncGenerator<PolicyTestStep>>
  /** What clients are called; deleted ones are missing. */
  clientLabels(ids: ClientId[]): Promise<Map<ClientId, ClientLabel>>
  /** Called with what may have altered a verdict, before the call that did so returns. */
  onChange: Store['onChange']
  /** Whether answers may be given from memory; see `ChangeLog`. */
  isCurrent(): boolean
  /** Resolves once they may. Throws `unavailable`. */
  catchUp(): Promise<void>
  nodes: NodeRegistry
  /** Called after each commit of this node that left events behind. Returns the way to stop. */
  onEvent: Store['onEvent']
  /** Who a caller is by now; undefined: the credential is good no more. */
  stillHolds(caller: Caller): ReturnType<typeof stillHolds>
  /** Does what the policy says with the tokens of found secrets; see `reportLeaks`. */
  reportLeaks(wish: Parameters<typeof reportLeaks>[1]): Promise<LeakOutcome[]>
  /** The same for a reporter whose signature was checked. */
  reportSignedLeaks(wish: Parameters<typeof reportSettled>[1]): Promise<LeakOutcome[]>
  /** Sends events to webhooks. */
  deliverer: Deliverer
  testWebhook(wish: Parameters<typeof testWebhook>[1]): Promise<Attempt>
  /** Tells of tokens that end soon or have ended. Returns how many. */
  giveNotices(): Promise<number>
  /** What ends when, and how many deliveries are open; for figures that are refreshed now and then. */
  eventFigures(): Promise<EventFigures>
  /** Writes what was collected of uses; spread over `overMs` milliseconds, or at once. */
  flushUsage(overMs?: number): Promise<void>
  /** Deletes what retention no longer keeps, in small batches. Returns how many tokens went. */
  purge(): Promise<number>
  /** Rejects when the store cannot be read. */
  ping(): Promise<void>
}

export interface EventFigures {
  endings: EndingFigure[]
  deliveries: { pending: number; dead: number }
}

export interface CoreOptions {
  store: Store
  clock: Clock
  random: Random
  masterKey: Secret
  /** Sends to webhooks; absent: nothing can be sent. */
  sender?: Sender
  /** For how long the one has been waiting for whom something is done now, in milliseconds. */
  waitedMs?: (() => number) | undefined
  /** How many cores are for this process. */
  cores?: number
  /** Bound of the verdict cache, in tokens. */
  maxCachedTokens?: number
  /** Absent: tokens that were imported with bcrypt hashes are not found. */
  bcrypt?: BcryptTest
}

/** Opens the domain over a store. Throws `not_configured` when keys or master key do not fit. */
export async function createCore(options: CoreOptions): Promise<Core> {
  const { store, clock, random } = options
  const newId = idMaker(clock, random)
  const keyring = await openKeyring({ store, clock, random, newId, masterKey: options.masterKey })
  const policy = await policyInForce(store)
  const audit: Recorder = auditRecorder({
    key: () => keyring.derived('audit'),
    now: () => clock.now(),
  })
  const usage = usageCollector(
    (uses) =>
      store.transaction(async (tx) => {
        await tx.tokens.recordUse(uses)
        await tx.use.add(uses)
      }),
    clock,
  )
  const deps: webhooks.WebhookDeps = {
    sender: options.sender ?? NO_SENDER,
    store,
    clock,
    random,
    newId,
    keyring,
    audit,
    usage,
    logins: lateLogins(store),
    passwords: passwordHasher(random, { waitedMs: options.waitedMs, cores: options.cores, clock }),
    policy: policy.now,
    loadOwner: (id, within = store) => loadOwner(within, id),
  }
  const alarm = quarantineAlarm(deps)
  const verifier = createVerifier({
    alarm,
    store,
    keyring,
    clock,
    usage,
    policy: policy.now,
    limiter: rateLimiter(store),
    loadOwner: deps.loadOwner,
    owners: ownerCache(store, deps.loadOwner),
    maxCachedTokens: options.maxCachedTokens ?? 100_000,
    random,
    imported: importedSecrets({
      store,
      keyring,
      clock,
      audit,
      shapes: await openShapes(store),
      bcrypt: options.bcrypt,
    }),
  })
  // What was decided while it was being read must not be remembered.
  policy.onChange(() => verifier.clear())
  const on = binder(deps)
  const verifying = binder({ ...deps, verifier })
  const inStore = binder(store)

  return {
    clock,
    verifier,
    keyring,
    random,
    oauth: oauthEngine(deps),
    clients: clientDirectory({ store, keyring }),
    read: readsOf(deps),
    explain: verifying(explainToken),
    sign: verifying(signedRights),
    revocations: revocationFeed(deps),
    write: (work) =>
      tellingViolations(deps, (refused) =>
        store.transaction((tx) => work(writesOf(deps, tx, refused))),
      ),
    writeOnce: (wish, work) =>
      tellingViolations(deps, (refused) =>
        store.transaction((tx) => once(deps, tx, wish, () => work(writesOf(deps, tx, refused)))),
      ),
    importTokens: on(imports.importTokens),
    login: on(login.loginWithPassword),
    openSessionFromToken: on(login.openSessionFromToken),
    signInFromUpstream: on(signInFromUpstream),
    changePassword: on(changePassword),
    resetPassword: on(resetPassword),
    policy: deps.policy,
    rotateKeys: on(rotateKeys),
    rewrapKeys: (to) => rewrapKeys(deps, { from: options.masterKey, to }),
    trail: {
      end: () => store.audit.last(),
      hashOf: async (sequence) => (await store.audit.after(sequence - 1, 1))[0]?.hash,
      endings: ({ limit, ...span }) => store.audit.between(span, HARMLESS_ACTIONS, limit),
    },
    recordTransfer: on(recordTransfer),
    checkpoint: on(makeCheckpoint),
    verifyAudit: on(verifyAudit),
    beginExport: on(inventory.beginExport),
    planBulk: on(jobs.planBulk),
    rehearse: rehearsalsOf(deps),
    worker: on(createWorker),
    cursors: (list) => cursorsFor(keyring.derived('cursor'), list),
    isNew: async () => (await store.users.countAll()) === 0,
    bootstrap: on(bootstrap),
    breakGlass: on(breakGlass),
    usernames: inStore(usernames),
    userLabels: inStore(userLabels),
    groupNames: inStore(groupNames),
    clientLabels: inStore(clientLabels),
    policyEnds: (tokens) => policyEnds(policy.now(), store, tokens),
    testPolicy: verifying(testPolicy),
    onChange: (listener) => store.onChange(listener),
    isCurrent: () => store.changes.isCurrent(),
    catchUp: () => store.changes.catchUp(),
    nodes: store.nodes,
    onEvent: (listener) => store.onEvent(listener),
    stillHolds: verifying(stillHolds),
    reportLeaks: verifying(reportLeaks),
    reportSignedLeaks: verifying(reportSettled),
    deliverer: createDeliverer(deps),
    testWebhook: on(testWebhook),
    giveNotices: on(giveNotices),
    eventFigures: async () => ({
      endings: await endingFigures(deps),
      deliveries: await store.webhooks.countOpen(),
    }),
    async flushUsage(overMs) {
      await usage.flush(overMs)
      await alarm.flush()
      await deps.logins.flush()
    },
    purge: on(purge),
    ping: () => store.ping(),
  }
}
