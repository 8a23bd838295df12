import { mustBeAllowed } from '../access.ts'
import { boundExpiry, mustBeWithin } from '../bounds.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import { withdrawAll } from '../grants/manage.ts'
import { type ClientId, isId, type UserId } from '../id.ts'
import { type Page, pageOf } from '../page.ts'
import { isBuiltInScope } from '../rights.ts'
import { digestOf, makeSecret, previewOf, Secret } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { checkSearch, nameKey } from '../text.ts'
import { standsFor } from '../tokens/issue.ts'
import type { ListWish } from '../tokens/read.ts'
import { revokeOfClient } from '../tokens/revoke.ts'
import { removeUser, saveUser, updateUser } from '../users/manage.ts'
import type { Client } from './client.ts'
import { parseDuration } from './duration.ts'
import { type ClientSettings, checkSettings, DEFAULT_SETTINGS } from './settings.ts'
import type { ClientFilter, StoredSecret } from './store.ts'

/** What is left out is as `DEFAULT_SETTINGS` says. */
export interface ClientWish extends Partial<Omit<ClientSettings, 'name' | 'active'>> {
  name: string
  /** Absent: 40 random hex digits. */
  clientId?: string
}

/** A client with its secret, which exists nowhere else from now on; undefined: it has none. */
export interface IssuedClient {
  client: Client
  secret: Secret | undefined
}

const CLIENT_ID = /^[A-Za-z0-9._~-]{3,255}$/
const MAX_USERNAME_LENGTH = 150

/**
 * Creates a client with its service account. A confidential client gets a secret, unless it has keys
 * to sign with. Throws `forbidden`, `beyond_rights`, `name_taken`, `invalid_input`.
 */
export async function createClient(
  deps: Deps,
  tx: Repositories,
  { caller, wish }: { caller: Caller; wish: ClientWish },
): Promise<IssuedClient> {
  mustBeAllowed(caller.principal, 'client.manage', { what: undefined, policy: deps.policy() })
  const { clientId = deps.random(20).toString('hex'), ...wanted } = wish
  const settings = checkSettings({ ...DEFAULT_SETTINGS, ...wanted })
  const id = deps.newId() as ClientId
  const serviceUserId = deps.newId() as UserId
  const username = accountName({ id, clientId })
  await mustBeFree(tx, { clientId, username, serviceUserId })
  await mustBeGivable(deps, tx, { caller, settings, serviceUserId })
  await saveUser(deps, tx, {
    actor: caller,
    id: serviceUserId,
    wish: { kind: 'service', username, displayName: settings.name },
  })
  const issued = hasSecret(settings) ? newSecret(deps) : undefined
  const atMs = deps.clock.now()
  const client = await tx.clients.insert({
    ...settings,
    id,
    clientId,
    secret: issued?.stored,
    secretPreview: issued?.preview,
    serviceUserId,
    createdAtMs: atMs,
    updatedAtMs: atMs,
  })
  await tx.changes.append({ subject: 'client', id, isNew: true })
  await deps.audit(tx, caller, {
    action: 'client.created',
    subjectType: 'client',
    subjectId: id,
    after: clientFacts(client),
  })
  return { client, secret: issued?.secret }
}

/** A client's id and type stay as they are. */
export interface ClientEdit
  extends Partial<Omit<ClientSettings, 'type' | 'jwks' | 'applicationName'>> {
  /** Replaces the secret, if there is one; null: removes the keys. */
  jwks?: Client['jwks'] | null
  /** Null: removes the application, its slug too. */
  applicationName?: string | null
}

/**
 * Changes a client. Disabling it revokes all that it was given, for good. What it loses otherwise
 * binds from the next request for a token on. Throws `not_found`, `forbidden`, `beyond_rights`,
 * `invalid_input`.
 */
export async function updateClient(
  deps: Deps,
  tx: Repositories,
  { caller, id, edit }: { caller: Caller; id: string; edit: ClientEdit },
): Promise<Client> {
  mustBeAllowed(caller.principal, 'client.manage', { what: undefined, policy: deps.policy() })
  const before = await mustFind(tx, id)
  const settings = checkSettings(edited(before, edit))
  if (gains(before, settings)) {
    await mustBeGivable(deps, tx, { caller, settings, serviceUserId: before.serviceUserId })
  }
  const keepsSecret = hasSecret(settings)
  const after: Client = {
    ...before,
    ...settings,
    secretPreview: keepsSecret ? before.secretPreview : undefined,
    updatedAtMs: deps.clock.now(),
  }
  await tx.clients.update(after)
  if (!keepsSecret && before.secretPreview !== undefined) {
    await tx.clients.setSecret(before.id, undefined, {
      preview: undefined,
      atMs: after.updatedAtMs,
    })
  }
  await updateAccount(deps, tx, { caller, before, after })
  if (before.active && !after.active) {
    await endAccess(deps, tx, { caller, id: before.id, reason: 'client disabled' })
  }
  await tx.changes.append({ subject: 'client', id: before.id })
  await deps.audit(tx, caller, {
    action: 'client.updated',
    subjectType: 'client',
    subjectId: before.id,
    ...difference(clientFacts(before), clientFacts(after)),
  })
  return after
}

/**
 * Gives a client a new secret; the old one is dead at once, the client's tokens stay.
 * Throws `not_found`, `forbidden`, `beyond_rights`, `invalid_input` (it needs none).
 */
export async function replaceClientSecret(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: string },
): Promise<{ client: Client; secret: Secret }> {
  mustBeAllowed(caller.principal, 'client.manage', { what: undefined, policy: deps.policy() })
  const before = await mustFind(tx, id)
  if (!hasSecret(before)) {
    throw new CoreError(
      'invalid_input',
      before.type === 'public'
        ? 'A public client has no secret.'
        : 'This client signs with its keys and has no secret. Remove its jwks first.',
    )
  }
  const { serviceUserId } = before
  await mustBeGivable(deps, tx, { caller, settings: before, serviceUserId })
  const { secret, stored, preview } = newSecret(deps)
  const atMs = deps.clock.now()
  await tx.clients.setSecret(before.id, stored, { preview, atMs })
  await tx.changes.append({ subject: 'client', id: before.id })
  await deps.audit(tx, caller, {
    action: 'client.secret_replaced',
    subjectType: 'client',
    subjectId: before.id,
    before: { secretPreview: before.secretPreview },
    after: { secretPreview: preview },
  })
  return { client: { ...before, secretPreview: preview, updatedAtMs: atMs }, secret }
}

/**
 * Deletes a client with its service account: all that it was given is revoked for good, and its
 * client id is free again. Throws `not_found`, `forbidden`.
 */
export async function deleteClient(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: string },
): Promise<void> {
  const client = await mustBeManageable(deps, tx, { caller, id })
  const reason = 'client deleted'
  await endAccess(deps, tx, { caller, id: client.id, reason })
  await tx.clients.remove(client.id, deps.clock.now())
  const account = await tx.users.byId(client.serviceUserId)
  if (account !== undefined) await removeUser(deps, tx, { actor: caller, user: account, reason })
  await tx.changes.append({ subject: 'client', id: client.id })
  await deps.audit(tx, caller, {
    action: 'client.deleted',
    subjectType: 'client',
    subjectId: client.id,
    before: clientFacts(client),
  })
}

/** The client, once it is settled that the caller may change it. Throws `not_found`, `forbidden`. */
export async function mustBeManageable(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: string },
): Promise<Client> {
  mustBeAllowed(caller.principal, 'client.manage', { what: undefined, policy: deps.policy() })
  return mustFind(tx, id)
}

/** By its id or by what OAuth calls `client_id`. Throws `forbidden`, `not_found`. */
export async function getClient(deps: Deps, caller: Caller, id: string): Promise<Client> {
  mustBeAllowed(caller.principal, 'client.read', { what: undefined, policy: deps.policy() })
  return mustFind(deps.store, id)
}

/** One page, newest first. Throws `forbidden`. */
export async function listClients(
  deps: Deps,
  caller: Caller,
  { filter, from, size }: ListWish<ClientFilter>,
): Promise<Page<Client>> {
  mustBeAllowed(caller.principal, 'client.read', { what: undefined, policy: deps.policy() })
  checkSearch(filter.text)
  const rows = await deps.store.clients.list(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (client) => [client.createdAtMs, client.id] })
}

async function mustFind({ clients }: Repositories, id: string): Promise<Client> {
  const byId = isId(id) ? await clients.byId(id as ClientId) : undefined
  const found = byId ?? (CLIENT_ID.test(id) ? await clients.byClientId(id) : undefined)
  if (found === undefined) throw notFound('client')
  return found
}

async function mustBeFree(
  tx: Repositories,
  {
    clientId,
    username,
    serviceUserId,
  }: Record<'clientId' | 'username', string> & {
    serviceUserId: UserId
  },
): Promise<void> {
  if (!CLIENT_ID.test(clientId)) {
    throw new CoreError(
      'invalid_input',
      'A client id has 3 to 255 characters of A-Z a-z 0-9 . _ ~ -.',
    )
  }
  // Spelled like another client's row it would be taken for that one.
  const isRow = isId(clientId) && (await tx.clients.byIds([clientId as ClientId])).length > 0
  if (isRow || (await tx.clients.byClientId(clientId)) !== undefined) {
    throw new CoreError('name_taken', 'A client with this client id exists. Choose another.')
  }
  if (await tx.users.isNameTaken(nameKey(username), serviceUserId)) {
    throw new CoreError(
      'name_taken',
      'A user or another client has this name, but for upper and lower case. Choose another client id.',
    )
  }
}

/**
 * A client gives whoever is behind it the client's scopes, users' tokens at its redirect URIs and a
 * look at other clients' tokens, without an end. It is a token but in name, so it is bounded by the
 * token that asks for it, just as one.
 */
async function mustBeGivable(
  deps: Deps,
  tx: Repositories,
  {
    caller,
    settings,
    serviceUserId,
  }: {
    caller: Caller
    settings: Pick<ClientSettings, 'scopes'>
    serviceUserId: UserId
  },
): Promise<void> {
  const { principal } = caller
  mustBeAllowed(principal, 'token.create', {
    what: { ownerId: serviceUserId, kind: 'api' },
    policy: deps.policy(),
  })
  const scopes = settings.scopes.filter((scope) => !isBuiltInScope(scope))
  mustBeWithin(
    { accessLevel: 'FULL_ACCESS', roles: [], groups: [], scopes, allowedIps: null },
    principal.token.limits,
  )
  const creator = await standsFor(deps, tx, principal.token)
  boundExpiry(undefined, { creator, explicit: true })
}

const LIFETIMES = ['codeTtl', 'accessTokenTtl', 'refreshTokenTtl'] as const

/** Whether the client, or whoever is behind it, may do more afterwards. */
function gains(before: Client, after: ClientSettings): boolean {
  const isNew = <T>(list: readonly T[], held: readonly T[]) =>
    list.some((each) => !held.includes(each))
  return (
    isNew(after.scopes, before.scopes) ||
    isNew(after.grants, before.grants) ||
    isNew(after.redirectUris, before.redirectUris) ||
    isNew(after.postLogoutRedirectUris, before.postLogoutRedirectUris) ||
    isNew(after.resources, before.resources) ||
    isNew(after.serves, before.serves) ||
    (before.requirePkce && !after.requirePkce) ||
    (after.active && !before.active) ||
    LIFETIMES.some((each) => parseDuration(after[each]) > parseDuration(before[each])) ||
    (after.jwks !== undefined && JSON.stringify(after.jwks) !== JSON.stringify(before.jwks))
  )
}

function edited(before: Client, edit: ClientEdit): ClientSettings {
  const { jwks, applicationName, ...rest } = edit
  return {
    ...before,
    ...rest,
    jwks: jwks === undefined ? before.jwks : (jwks ?? undefined),
    applicationName:
      applicationName === undefined ? before.applicationName : (applicationName ?? undefined),
    applicationSlug:
      applicationName === null
        ? edit.applicationSlug
        : (edit.applicationSlug ?? before.applicationSlug),
  }
}

/** The service account follows its client. */
async function updateAccount(
  deps: Deps,
  tx: Repositories,
  { caller, before, after }: { caller: Caller; before: Client; after: Client },
): Promise<void> {
  const id = before.serviceUserId
  const isRenamed = after.name !== before.name
  const isSwitched = after.active !== before.active
  if (isRenamed || isSwitched) {
    const edit = {
      ...(isRenamed ? { displayName: after.name } : {}),
      ...(isSwitched ? { active: after.active } : {}),
    }
    await updateUser(deps, tx, { caller, id, edit })
  }
  // The account holds the client's scopes; see `loadOwner`.
  await tx.changes.append({ subject: 'user', id })
}

/** Takes back everything that a client was given. */
async function endAccess(
  deps: Deps,
  tx: Repositories,
  { caller, id, reason }: { caller: Caller; id: ClientId; reason: string },
): Promise<void> {
  await revokeOfClient(deps, tx, { actor: caller, id, reason })
  await withdrawAll(deps, tx, { actor: caller, which: { clientId: id }, reason })
}

function accountName({ id, clientId }: Pick<Client, 'id' | 'clientId'>): string {
  const name = `client:${clientId}`
  return name.length <= MAX_USERNAME_LENGTH ? name : `client:${id}`
}

function hasSecret({ type, jwks }: Pick<ClientSettings, 'type' | 'jwks'>): boolean {
  return type === 'confidential' && jwks === undefined
}

function newSecret({ keyring, random }: Deps): {
  secret: Secret
  stored: StoredSecret
  preview: string
} {
  const text = makeSecret('mintmark', 'client', random)
  const pepper = keyring.pepper()
  return {
    secret: new Secret(text),
    stored: { digest: digestOf(text, pepper), pepperId: pepper.id },
    preview: previewOf(text, 'mintmark'),
  }
}

/** What the audit trail keeps of a client. */
function clientFacts(client: Client): Record<string, unknown> {
  const {
    id: _id,
    serial: _serial,
    createdAtMs: _created,
    updatedAtMs: _updated,
    ...facts
  } = client
  return facts
}

/** The facts that differ, as they were and as they are. */
function difference(before: Record<string, unknown>, after: Record<string, unknown>) {
  const changed = Object.keys(after).filter(
    (key) => JSON.stringify(after[key]) !== JSON.stringify(before[key]),
  )
  const only = (facts: Record<string, unknown>) =>
    Object.fromEntries(changed.map((key) => [key, facts[key]]))
  return { before: only(before), after: only(after) }
}
