import { mustBeAllowed } from './access.ts'
import type { Checkpoint } from './audit/checkpoint.ts'
import { HARMLESS_ACTIONS } from './audit/endings.ts'
import type { AuditAction, AuditRecord } from './audit/event.ts'
import { makeCheckpoint } from './audit/make-checkpoint.ts'
import { auditRecorder, type Recorder } from './audit/record.ts'
import type { AuditFilter, ChainEnd } from './audit/store.ts'
import { type ChainVerdict, verifyChain } from './audit/verify.ts'
import { type Bootstrapped, type BootstrapWish, bootstrap, breakGlass } from './bootstrap.ts'
import type { Caller } from './caller.ts'
import { type ClientDirectory, clientDirectory } from './clients/directory.ts'
import * as clients from './clients/manage.ts'
import type { Clock } from './clock.ts'
import type { Deps } from './deps.ts'
import { type EndingFigure, endingFigures, giveNotices } from './events/notices.ts'
import { eventsAfter, listEvents } from './events/read.ts'
import * as grants from './grants/manage.ts'
import * as groups from './groups/manage.ts'
import {
  type ClientId,
  type DeliveryId,
  type GroupId,
  idMaker,
  type JobId,
  type TokenId,
  type UserId,
  type WebhookId,
} from './id.ts'
import { type Once, type OnceResult, once } from './idempotency.ts'
import { importedSecrets } from './imports/find.ts'
import type { BcryptTest } from './imports/foreign.ts'
import * as imports from './imports/import.ts'
import { openShapes } from './imports/shapes.ts'
import * as jobs from './jobs/manage.ts'
import { createWorker, type Worker } from './jobs/work.ts'
import { type Keyring, openKeyring } from './keys/keyring.ts'
import * as keys from './keys/list.ts'
import { purgeKeys } from './keys/purge.ts'
import { rewrapKeys } from './keys/rewrap.ts'
import { rotateKeys } from './keys/rotate.ts'
import { type LeakOutcome, reportLeaks, reportSettled } from './leaks/report.ts'
import { listNodes } from './nodes/list.ts'
import type { NodeRegistry } from './nodes/registry.ts'
import { type OauthEngine, oauthEngine } from './oauth/engine.ts'
import { cursorsFor, type ListCursors, type Page, pageOf } from './page.ts'
import { policyInForce } from './policy/in-force.ts'
import { type PolicyEdit, removeTokenRule, setTokenRule, updatePolicy } from './policy/manage.ts'
import type { Policy } from './policy/policy.ts'
import { rateLimiter } from './policy/rate.ts'
import { restraintsOf } from './policy/restraint.ts'
import { type PolicyTestStep, testPolicy } from './policy/test-policy.ts'
import { recordViolation, type Violation, violationIn } from './policy/violation.ts'
import type { Random } from './random.ts'
import { rehearsalsOf } from './rehearse.ts'
import { type RevocationFeed, revocationFeed } from './revocations/feed.ts'
import * as roles from './roles/manage.ts'
import type { Secret } from './secret.ts'
import type { Repositories, Store } from './store.ts'
import { nameKey } from './text.ts'
import { getTree, issueChild } from './tokens/children.ts'
import { type Explained, type ExplainWish, explainToken } from './tokens/explain.ts'
import * as inventory from './tokens/inventory.ts'
import { issueToken } from './tokens/issue.ts'
import * as oauthTokens from './tokens/oauth-read.ts'
import { quarantineToken, releaseToken } from './tokens/quarantine.ts'
import { quarantineAlarm } from './tokens/quarantine-alarm.ts'
import * as reach from './tokens/reach.ts'
import * as tokens from './tokens/read.ts'
import { revokeSelf, revokeToken } from './tokens/revoke.ts'
import { rollUpUse } from './tokens/roll-up.ts'
import { rotateToken } from './tokens/rotate.ts'
import { extendRotation, finishRotation, getRotation } from './tokens/rotation.ts'
import { issueServiceToken, revokeServiceToken } from './tokens/service.ts'
import { type SignedRights, type SignWish, signedRights } from './tokens/sign.ts'
import { stillHolds } from './tokens/still-holds.ts'
import type { TokenFilter } from './tokens/store.ts'
import type { Token } from './tokens/token.ts'
import { usageCollector } from './tokens/usage.ts'
import { tokenUse, useFigures } from './tokens/use-read.ts'
import { createVerifier, type Verifier } from './tokens/verify.ts'
import { changePassword, resetPassword } from './users/change-password.ts'
import * as login from './users/login.ts'
import * as users from './users/manage.ts'
import { loadOwner } from './users/owner.ts'
import { ownerCache } from './users/owner-cache.ts'
import { passwordHasher } from './users/password.ts'
import type { Session } from './users/session.ts'
import { signInFromUpstream } from './users/sign-in.ts'
import { createDeliverer, type Deliverer, testWebhook } from './webhooks/deliver.ts'
import * as webhooks from './webhooks/manage.ts'
import type { Sender } from './webhooks/sender.ts'
import type { Attempt } from './webhooks/webhook.ts'

/** Binds the domain's functions to `deps`, leaving their own arguments. */
function readsOf(deps: Deps) {
  return {
    token: (caller: Caller, id: TokenId) => tokens.getToken(deps, caller, id),
    tokenBySerial: (caller: Caller, serial: number) =>
      tokens.getTokenBySerial(deps, caller, serial),
    serialOfLineage: (token: Token) => tokens.serialOfLineage(deps, token),
    tokens: (caller: Caller, wish: Parameters<typeof tokens.listTokens>[2]) =>
      tokens.listTokens(deps, caller, wish),
    tokensBySerial: (caller: Caller, wish: Parameters<typeof tokens.listTokensBySerial>[2]) =>
      tokens.listTokensBySerial(deps, caller, wish),
    /** With those it comes from, and those that come from it. */
    tree: (caller: Caller, id: TokenId) => getTree(deps, caller, id),
    /** What a query in our own language means. */
    inventory: (caller: Caller, wish: Parameters<typeof inventory.listInventory>[2]) =>
      inventory.listInventory(deps, caller, wish),
    inventoryCount: (caller: Caller, wish: inventory.InventoryWish) =>
      inventory.countInventory(deps, caller, wish),
    inventoryFigures: (caller: Caller, wish: Parameters<typeof inventory.inventoryFigures>[2]) =>
      inventory.inventoryFigures(deps, caller, wish),
    /** A page of an export that `beginExport` began. */
    exportPage: (
      compiled: inventory.CompiledQuery,
      span: Parameters<typeof inventory.pageOfQuery>[2],
    ) => inventory.pageOfQuery(deps, compiled, span),
    /** A token with the groups it reaches now; all of them, for the dialect without paging. */
    use: (caller: Caller, wish: Parameters<typeof tokenUse>[2]) => tokenUse(deps, caller, wish),
    useFigures: (caller: Caller, wish: Parameters<typeof useFigures>[2]) =>
      useFigures(deps, caller, wish),
    rotation: (caller: Caller, id: TokenId) => getRotation(deps, caller, id),
    tokenReach: (caller: Caller, id: TokenId) => reach.getTokenReach(deps, caller, id),
    everyTokenReach: (caller: Caller, filters: TokenFilter[]) =>
      reach.everyTokenReach(deps, caller, filters),
    /** What clients were given, for the dialect that lists it by client. */
    clientToken: (caller: Caller, wish: Parameters<typeof oauthTokens.findClientToken>[2]) =>
      oauthTokens.findClientToken(deps, caller, wish),
    clientTokens: (caller: Caller, wish: Parameters<typeof oauthTokens.listClientTokens>[2]) =>
      oauthTokens.listClientTokens(deps, caller, wish),
    clientOfTokens: (caller: Caller, wish: Parameters<typeof oauthTokens.findClientOfTokens>[2]) =>
      oauthTokens.findClientOfTokens(deps, caller, wish),
    user: (caller: Caller, id: UserId) => users.getUser(deps, caller, id),
    userByName: (caller: Caller, username: string) => users.getUserByName(deps, caller, username),
    userBySerial: (caller: Caller, serial: number) => users.findUserBySerial(deps, caller, serial),
    users: (caller: Caller, wish: Parameters<typeof users.listUsers>[2]) =>
      users.listUsers(deps, caller, wish),
    group: (caller: Caller, id: GroupId) => groups.getGroup(deps, caller, id),
    groupByName: (caller: Caller, name: string) => groups.getGroupByName(deps, caller, name),
    /** For a name that somebody asks rights in; says no more than that there is such a group. */
    groupIdByName: async (name: string) => deps.store.groups.byNameKey(nameKey(name)),
    groups: (caller: Caller, wish: Parameters<typeof groups.listGroups>[2]) =>
      groups.listGroups(deps, caller, wish),
    members: (caller: Caller, id: GroupId) => groups.listMembers(deps, caller, id),
    /** Everybody with memberships, for the dialect without paging. */
    everyUser: (caller: Caller) => users.everyUser(deps, caller),
    everyGroup: (caller: Caller) => groups.everyGroup(deps, caller),
    membershipsOfUser: (caller: Caller, id: UserId) => users.membershipsOf(deps, caller, id),
    rolesOfUser: (caller: Caller, id: UserId) => users.rolesOf(deps, caller, id),
    roles: (caller: Caller) => roles.listRoles(deps, caller),
    /** By its id or its client id. */
    client: (caller: Caller, id: string) => clients.getClient(deps, caller, id),
    clients: (caller: Caller, wish: Parameters<typeof clients.listClients>[2]) =>
      clients.listClients(deps, caller, wish),
    grants: (caller: Caller, wish: Parameters<typeof grants.listGrants>[2]) =>
      grants.listGrants(deps, caller, wish),
    job: (caller: Caller, id: JobId) => jobs.getJob(deps, caller, id),
    jobs: (caller: Caller, wish: jobs.JobListWish) => jobs.listJobs(deps, caller, wish),
    import: (caller: Caller, importId: string) => imports.readImport(deps, caller, importId),
    keys: (caller: Caller) => keys.listKeys(deps, caller),
    nodes: (caller: Caller) => listNodes(deps, caller),
    audit: (caller: Caller, wish: tokens.ListWish<AuditFilter>) => listAudit(deps, caller, wish),
    auditCheckpoints: (caller: Caller) => listCheckpoints(deps, caller),
    events: (caller: Caller, wish: Parameters<typeof listEvents>[2]) =>
      listEvents(deps, caller, wish),
    eventsAfter: (caller: Caller, wish: Parameters<typeof eventsAfter>[2]) =>
      eventsAfter(deps, caller, wish),
    /** The number of the newest event. */
    lastEventId: () => deps.store.events.lastId(),
    webhooks: (caller: Caller) => webhooks.listWebhooks(deps, caller),
    webhook: (caller: Caller, id: WebhookId) => webhooks.getWebhook(deps, caller, id),
    deliveries: (caller: Caller, wish: Parameters<typeof webhooks.listDeliveries>[2]) =>
      webhooks.listDeliveries(deps, caller, wish),
    delivery: (caller: Caller, id: DeliveryId) => webhooks.getDelivery(deps, caller, id),
  }
}

function writesOf(
  deps: webhooks.WebhookDeps,
  tx: Repositories,
  refused: (violation: Violation) => void,
) {
  /** Notes when it is the policy that refuses. */
  const watched = async <T>(caller: Caller, work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (error) {
      const violation = violationIn(caller, error)
      if (violation !== undefined) refused(violation)
      throw error
    }
  }
  return {
    issueToken: (wish: Parameters<typeof issueToken>[2]) =>
      watched(wish.caller, issueToken(deps, tx, wish)),
    issueChild: (wish: Parameters<typeof issueChild>[2]) =>
      watched(wish.caller, issueChild(deps, tx, wish)),
    issueServiceToken: (wish: Parameters<typeof issueServiceToken>[2]) =>
      issueServiceToken(deps, tx, wish),
    revokeServiceToken: (wish: Parameters<typeof revokeServiceToken>[2]) =>
      revokeServiceToken(deps, tx, wish),
    updateToken: (wish: Parameters<typeof tokens.updateToken>[2]) =>
      tokens.updateToken(deps, tx, wish),
    rotateToken: (wish: Parameters<typeof rotateToken>[2]) =>
      watched(wish.caller, rotateToken(deps, tx, wish)),
    quarantineToken: (wish: Parameters<typeof quarantineToken>[2]) =>
      quarantineToken(deps, tx, wish),
    releaseToken: (wish: Parameters<typeof releaseToken>[2]) => releaseToken(deps, tx, wish),
    createWebhook: (wish: Parameters<typeof webhooks.createWebhook>[2]) =>
      webhooks.createWebhook(deps, tx, wish),
    updateWebhook: (wish: Parameters<typeof webhooks.updateWebhook>[2]) =>
      webhooks.updateWebhook(deps, tx, wish),
    rotateWebhookSecret: (wish: Parameters<typeof webhooks.rotateWebhookSecret>[2]) =>
      webhooks.rotateWebhookSecret(deps, tx, wish),
    deleteWebhook: (wish: Parameters<typeof webhooks.deleteWebhook>[2]) =>
      webhooks.deleteWebhook(deps, tx, wish),
    redeliver: (wish: Parameters<typeof webhooks.redeliver>[2]) =>
      webhooks.redeliver(deps, tx, wish),
    finishRotation: (wish: Parameters<typeof finishRotation>[2]) => finishRotation(deps, tx, wish),
    extendRotation: (wish: Parameters<typeof extendRotation>[2]) => extendRotation(deps, tx, wish),
    revokeToken: (wish: Parameters<typeof revokeToken>[2]) => revokeToken(deps, tx, wish),
    revokeSelf: (wish: Parameters<typeof revokeSelf>[2]) => revokeSelf(deps, tx, wish),
    createUser: (wish: Parameters<typeof users.createUser>[2]) => users.createUser(deps, tx, wish),
    updateUser: (wish: Parameters<typeof users.updateUser>[2]) => users.updateUser(deps, tx, wish),
    deleteUser: (wish: Parameters<typeof users.deleteUser>[2]) => users.deleteUser(deps, tx, wish),
    createGroup: (wish: Parameters<typeof groups.createGroup>[2]) =>
      groups.createGroup(deps, tx, wish),
    updateGroup: (wish: Parameters<typeof groups.updateGroup>[2]) =>
      groups.updateGroup(deps, tx, wish),
    deleteGroup: (wish: Parameters<typeof groups.deleteGroup>[2]) =>
      groups.deleteGroup(deps, tx, wish),
    setMembership: (wish: Parameters<typeof groups.setMembership>[2]) =>
      groups.setMembership(deps, tx, wish),
    removeMembership: (wish: Parameters<typeof groups.removeMembership>[2]) =>
      groups.removeMembership(deps, tx, wish),
    createRole: (wish: Parameters<typeof roles.createRole>[2]) => roles.createRole(deps, tx, wish),
    updateRole: (wish: Parameters<typeof roles.updateRole>[2]) => roles.updateRole(deps, tx, wish),
    deleteRole: (wish: Parameters<typeof roles.deleteRole>[2]) => roles.deleteRole(deps, tx, wish),
    createClient: (wish: Parameters<typeof clients.createClient>[2]) =>
      clients.createClient(deps, tx, wish),
    updateClient: (wish: Parameters<typeof clients.updateClient>[2]) =>
      clients.updateClient(deps, tx, wish),
    replaceClientSecret: (wish: Parameters<typeof clients.replaceClientSecret>[2]) =>
      clients.replaceClientSecret(deps, tx, wish),
    deleteClient: (wish: Parameters<typeof clients.deleteClient>[2]) =>
      clients.deleteClient(deps, tx, wish),
    withdrawFromClient: (wish: Parameters<typeof grants.withdrawFromClient>[2]) =>
      grants.withdrawFromClient(deps, tx, wish),
    withdrawGrant: (wish: Parameters<typeof grants.withdrawGrant>[2]) =>
      grants.withdrawGrant(deps, tx, wish),
    createJob: (wish: Parameters<typeof jobs.createJob>[2]) => jobs.createJob(deps, tx, wish),
    cancelJob: (wish: Parameters<typeof jobs.cancelJob>[2]) => jobs.cancelJob(deps, tx, wish),
    updatePolicy: (wish: Parameters<typeof updatePolicy>[2]) => updatePolicy(deps, tx, wish),
    setTokenRule: (wish: Parameters<typeof setTokenRule>[2]) => setTokenRule(deps, tx, wish),
    removeTokenRule: (wish: Parameters<typeof removeTokenRule>[2]) =>
      removeTokenRule(deps, tx, wish),
    /** As this transaction sees things, for steps that build on each other. */
    userByName: async (name: string) => tx.users.byUsernameKey(nameKey(name)),
    groupByName: async (name: string) => tx.groups.byNameKey(nameKey(name)),
    membershipsOfUser: (id: UserId) => tx.groups.membershipsOfUser(id),
    membersOfGroup: (id: GroupId) => tx.groups.membershipsOfGroup(id),
  }
}

export type Reads = ReturnType<typeof readsOf>
export type Writes = ReturnType<typeof writesOf>

export interface AuditProofWish {
  /** Checkpoints kept elsewhere, besides those in the store. */
  checkpoints?: Checkpoint[]
  onProgress?: (records: number) => void
}

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
  recordTransfer(event: {
    action: Extract<AuditAction, 'server.moved' | 'server.restored'>
    after: Record<string, unknown>
  }): Promise<void>
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
  clientLabels(ids: ClientId[]): Promise<Map<ClientId, { clientId: string; name: string }>>
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
  flushUsage(): Promise<void>
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
  const usage = usageCollector((uses) =>
    store.transaction(async (tx) => {
      await tx.tokens.recordUse(uses)
      await tx.use.add(uses)
    }),
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
    passwords: passwordHasher(random),
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
  /** Tells of what the policy refused, once the refusal has undone everything else. */
  async function telling<T>(
    attempt: (refused: (violation: Violation) => void) => Promise<T>,
  ): Promise<T> {
    let violation: Violation | undefined
    try {
      return await attempt((each) => {
        violation = each
      })
    } catch (error) {
      if (violation !== undefined) await recordViolation(deps, violation)
      throw error
    }
  }
  const write: Core['write'] = (work) =>
    telling((refused) => store.transaction((tx) => work(writesOf(deps, tx, refused))))

  return {
    clock,
    verifier,
    keyring,
    random,
    oauth: oauthEngine(deps),
    clients: clientDirectory({ store, keyring }),
    read: readsOf(deps),
    explain: (caller, wish) => explainToken({ ...deps, verifier }, caller, wish),
    sign: (caller, wish) => signedRights({ ...deps, verifier }, caller, wish),
    revocations: revocationFeed(deps),
    write,
    writeOnce: (wish, work) =>
      telling((refused) =>
        store.transaction((tx) => once(deps, tx, wish, () => work(writesOf(deps, tx, refused)))),
      ),
    importTokens: (wish) => imports.importTokens(deps, wish),
    login: (wish) => login.loginWithPassword(deps, wish),
    openSessionFromToken: (wish) => login.openSessionFromToken(deps, wish),
    signInFromUpstream: (wish) => signInFromUpstream(deps, wish),
    changePassword: (wish) => changePassword(deps, wish),
    resetPassword: (wish) => resetPassword(deps, wish),
    policy: deps.policy,
    rotateKeys: (wish) => rotateKeys(deps, wish),
    rewrapKeys: (to) => rewrapKeys(deps, { from: options.masterKey, to }),
    trail: {
      end: () => store.audit.last(),
      hashOf: async (sequence) => (await store.audit.after(sequence - 1, 1))[0]?.hash,
      endings: ({ limit, ...span }) => store.audit.between(span, HARMLESS_ACTIONS, limit),
    },
    recordTransfer: ({ action, after }) =>
      store.transaction(async (tx) => {
        // What was signed before may come from what has ended since: none of it is taken any more.
        if (action === 'server.restored')
          await tx.changes.append({ subject: 'policy', id: 'policy' })
        await audit(
          tx,
          { origin: { ip: undefined, requestId: undefined, via: 'system' } },
          { action, subjectType: 'server', subjectId: 'installation', after },
        )
      }),
    checkpoint: () => makeCheckpoint(deps),
    verifyAudit: async ({ checkpoints = [], onProgress } = {}) =>
      verifyChain({
        after: store.audit.after,
        key: keyring.derived('audit'),
        checkpoints: [...(await store.audit.checkpoints()), ...checkpoints],
        publicKey: keyring.checkpointKeys().publicKey,
        onProgress,
      }),
    beginExport: (caller, wish) => inventory.beginExport(deps, caller, wish),
    planBulk: (caller, wish) => jobs.planBulk(deps, caller, wish),
    rehearse: rehearsalsOf(deps),
    worker: (options) => createWorker(deps, options),
    cursors: (list) => cursorsFor(keyring.derived('cursor'), list),
    isNew: async () => (await store.users.countAll()) === 0,
    bootstrap: (wish) => bootstrap(deps, wish),
    breakGlass: (username) => breakGlass(deps, username),
    async usernames(ids) {
      const found = await store.users.byIds([...new Set(ids)])
      return new Map(found.map((user) => [user.id, user.username]))
    },
    async userLabels(ids) {
      const found = await store.users.byIds([...new Set(ids)])
      return new Map(found.map(({ id, serial, username }) => [id, { serial, username }]))
    },
    async groupNames() {
      return new Map((await store.groups.all()).map((group) => [group.id, group.name]))
    },
    async policyEnds(tokens) {
      const restraints = await restraintsOf(policy.now(), store, tokens)
      return new Map(
        [...restraints].flatMap(([id, { endMs }]) =>
          endMs === undefined ? [] : [[id, endMs.value]],
        ),
      )
    },
    testPolicy: (caller, edit) => testPolicy(deps, caller, edit),
    async clientLabels(ids) {
      if (ids.length === 0) return new Map()
      const found = await store.clients.byIds([...new Set(ids)])
      return new Map(found.map(({ id, clientId, name }) => [id, { clientId, name }]))
    },
    onChange: (listener) => store.onChange(listener),
    isCurrent: () => store.changes.isCurrent(),
    catchUp: () => store.changes.catchUp(),
    nodes: store.nodes,
    onEvent: (listener) => store.onEvent(listener),
    stillHolds: (caller) => stillHolds({ verifier, clock }, caller),
    reportLeaks: (wish) => reportLeaks({ ...deps, verifier }, wish),
    reportSignedLeaks: (wish) => reportSettled({ ...deps, verifier }, wish),
    deliverer: createDeliverer(deps),
    testWebhook: (wish) => testWebhook(deps, wish),
    giveNotices: () => giveNotices(deps),
    eventFigures: async () => ({
      endings: await endingFigures(deps),
      deliveries: await store.webhooks.countOpen(),
    }),
    async flushUsage() {
      await usage.flush()
      await alarm.flush()
    },
    async purge() {
      const purged = await purge(deps)
      // After the tokens, which may have been the last to need a pepper.
      await purgeKeys(deps)
      await rollUpUse(deps)
      return purged
    },
    ping: () => store.ping(),
  }
}

async function listAudit(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: tokens.ListWish<AuditFilter>,
): Promise<Page<AuditRecord>> {
  mustBeAllowed(caller.principal, 'audit.read', { what: undefined, policy: deps.policy() })
  const rows = await deps.store.audit.list(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (row) => [row.sequence, String(row.sequence)] })
}

async function listCheckpoints(
  deps: Deps,
  caller: Caller,
): Promise<{ checkpoints: Checkpoint[]; publicKeyPem: string }> {
  mustBeAllowed(caller.principal, 'audit.read', { what: undefined, policy: deps.policy() })
  const { publicKey } = deps.keyring.checkpointKeys()
  return {
    checkpoints: await deps.store.audit.checkpoints(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

const PURGE_BATCH = 200
/** Longer than any node may lag behind the change log. */
const CHANGE_LOG_TTL_MS = 3_600_000
/** Longer than any delivery is tried, or a follower stays away. What happened stays in the audit trail. */
const EVENT_TTL_MS = 30 * 86_400_000

/** For commands that have no business outside. */
const NO_SENDER: Sender = {
  post: async () => ({ error: 'Nothing can be sent from here.' }),
  mayReach: () => true,
  allowHttp: true,
}

async function purge({ store, clock, policy, audit }: Deps): Promise<number> {
  const nowMs = clock.now()
  const endedBeforeMs = nowMs - policy().retentionSeconds * 1000
  let purged = 0
  for (;;) {
    const batch = await store.transaction(async (tx) => {
      const count = await tx.tokens.purge(endedBeforeMs, PURGE_BATCH)
      if (count === 0) return 0
      await audit(
        tx,
        { origin: { ip: undefined, requestId: undefined, via: 'system' } },
        { action: 'token.purged', subjectType: 'server', subjectId: 'retention', after: { count } },
      )
      return count
    })
    purged += batch
    if (batch < PURGE_BATCH) break
  }
  await store.transaction(async (tx) => {
    await tx.idempotency.purge(nowMs)
    await tx.rates.purge(nowMs)
    await tx.lockouts.purge(nowMs - 30 * 86_400_000)
    await tx.changes.prune(nowMs - CHANGE_LOG_TTL_MS)
    await tx.keys.purge('xms-login', nowMs - CHANGE_LOG_TTL_MS)
  })
  await purgeBatches(store, (tx) => tx.jobs.sweep(PURGE_BATCH))
  await purgeBatches(store, (tx) => tx.jobs.purge(endedBeforeMs, PURGE_BATCH))
  await purgeBatches(store, (tx) => tx.events.purge(nowMs - EVENT_TTL_MS, PURGE_BATCH))
  await purgeBatches(store, (tx) => tx.oauthRecords.purge(nowMs, PURGE_BATCH))
  await purgeBatches(store, (tx) => tx.grants.purge(endedBeforeMs, PURGE_BATCH))
  return purged
}

/** Deletes in small batches, so that nobody waits for long. */
async function purgeBatches(
  store: Store,
  batch: (tx: Repositories) => Promise<number>,
): Promise<void> {
  while ((await store.transaction(batch)) === PURGE_BATCH);
}
