import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Mode } from '../groups/group.ts'
import { createGroup, setMembership } from '../groups/manage.ts'
import { type GroupId, isId, type TokenId, type UserId } from '../id.ts'
import { seal } from '../seal.ts'
import { digestOf, formatOf, previewOf, type SecretFormat } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { checkJsonObject, checkName, checkProse, nameKey } from '../text.ts'
import { saveToken, settleWish } from '../tokens/issue.ts'
import type { AccessLevel, Limits } from '../tokens/token.ts'
import { createUser } from '../users/manage.ts'
import type { User } from '../users/user.ts'
import {
  type Algorithm,
  checkSlowHash,
  fingerprintOf,
  hintOf,
  readSha256,
  sha256Hex,
  sha256Text,
} from './foreign.ts'
import { mayBeForeign } from './shapes.ts'
import type { Shape } from './store.ts'

export const MAX_ROWS = 200
const MIN_HINT = 6
const MAX_HINT = 64
/** Enough to recognise a token by; the rest of a lookup belongs to the secret. */
const SHOWN_OF_HINT = 8
/** A presented secret is compared with so many slow hashes at most. */
const MAX_HASHES_PER_HINT = 4
const LEAST_DIFFERENT = 8
const IMPORT_ID = /^[A-Za-z0-9._-]{1,100}$/

/** A token of another system. */
export interface RowWish {
  /** Its place in the file, from 1. */
  row: number
  /** What the other system calls it; makes the row known again where its place has changed. */
  externalId?: string
  secret?: string
  hash?: string
  algorithm?: Algorithm
  /** The first characters of the secret, by which a slow hash is found. */
  lookup?: string
  name: string
  description?: string
  owner: string
  kind?: 'api' | 'service'
  accessLevel?: AccessLevel
  roles?: string[] | null
  groups?: { group: string; mode: Mode }[] | null
  scopes?: string[] | null
  allowedIps?: string[] | null
  createdAtMs?: number
  /** Absent: as the policy says; null: never, if the policy allows. */
  expiresAtMs?: number | null
  metadata?: Record<string, unknown>
}

export interface ImportWish {
  /** Names the import: the same one again goes on where it was. */
  importId: string
  dryRun: boolean
  createOwners: 'service' | 'person' | undefined
  createGroups: boolean
  rows: readonly RowWish[]
}

export interface RowVerdict {
  row: number
  outcome: 'created' | 'exists' | 'refused'
  tokenId: TokenId | undefined
  /** Why it was refused. */
  code: string | undefined
  message: string | undefined
}

/** Carries the verdicts out of a transaction that must leave nothing behind. */
class DryRun extends Error {
  readonly verdicts: RowVerdict[]
  constructor(verdicts: RowVerdict[]) {
    super('This was a dry run.')
    this.verdicts = verdicts
  }
}

/**
 * Takes over at most 200 tokens in one transaction; a row that is refused keeps none of the others out.
 * No token gets more than its owner holds, the importing token may give, and the policy allows. Doing it
 * again changes nothing. Throws `forbidden`, `invalid_input`.
 */
export async function importTokens(
  deps: Deps,
  { caller, wish }: { caller: Caller; wish: ImportWish },
): Promise<RowVerdict[]> {
  mustBeAllowed(caller.principal, 'token.import', { what: undefined, policy: deps.policy() })
  if (!IMPORT_ID.test(wish.importId)) {
    throw new CoreError('invalid_input', 'An import id has 1 to 100 of A-Z a-z 0-9 . _ -')
  }
  if (wish.rows.length > MAX_ROWS) {
    throw new CoreError('invalid_input', `Send at most ${MAX_ROWS} rows at once.`)
  }
  if (new Set(wish.rows.map(keyOfRow)).size < wish.rows.length) {
    throw new CoreError('invalid_input', 'Two rows have the same number or external id.')
  }
  try {
    return await deps.store.transaction(async (tx) => {
      const verdicts = await importAll(deps, tx, { caller, wish })
      if (wish.dryRun) throw new DryRun(verdicts)
      return verdicts
    })
  } catch (error) {
    if (error instanceof DryRun) return error.verdicts
    throw error
  }
}

interface Batch {
  caller: Caller
  wish: ImportWish
}

async function importAll(deps: Deps, tx: Repositories, batch: Batch): Promise<RowVerdict[]> {
  const { importId, rows } = batch.wish
  const done = await tx.imports.rows(importId, rows.map(keyOfRow))
  const verdicts: RowVerdict[] = []
  for (const row of rows) {
    const known = done.get(keyOfRow(row))
    verdicts.push(known === undefined ? await importRow(deps, tx, batch, row) : exists(row, known))
  }
  return verdicts
}

const keyOfRow = ({ row, externalId }: RowWish) =>
  externalId === undefined ? `#${row}` : `=${externalId}`

const exists = ({ row }: RowWish, tokenId: TokenId): RowVerdict => ({
  row,
  outcome: 'exists',
  tokenId,
  code: undefined,
  message: undefined,
})

async function importRow(
  deps: Deps,
  tx: Repositories,
  batch: Batch,
  row: RowWish,
): Promise<RowVerdict> {
  try {
    const material = materialOf(deps, row)
    const known = await tx.imports.byFingerprint(material.fingerprint)
    if (known !== undefined) return exists(row, known)
    checkTexts(deps, row)
    await mustBeNew(deps, tx, row, material)
    // Its owner and groups may be made before it is found that the row cannot be.
    const tokenId = await tx.imports.attempt(async () => {
      const owner = await ownerOf(deps, tx, batch, row)
      return saveRow(deps, tx, batch, { row, material, owner })
    })
    return { ...exists(row, tokenId), outcome: 'created' }
  } catch (error) {
    if (!(error instanceof CoreError) || error.code === 'unavailable') throw error
    const { code, message } = error
    return { row: row.row, outcome: 'refused', tokenId: undefined, code, message }
  }
}

/** How a secret that is known in part only is kept until its first use. */
interface Material {
  fingerprint: string
  /** What is digested; undefined: nothing can be, until the secret is presented. */
  text: string | undefined
  format: SecretFormat
  preview: string
  shape: Shape | undefined
  slow: { hint: string; hash: string } | undefined
}

function materialOf(deps: Deps, row: RowWish): Material {
  const key = deps.keyring.derived('import')
  const { secret, hash, algorithm, lookup } = row
  if ((secret === undefined) === (hash === undefined)) {
    throw new CoreError('invalid_input', 'A row needs either secret, or hash and algorithm.')
  }
  if (secret !== undefined) {
    mustBeStrong(secret)
    const format = formatOf(secret) ?? 'imported'
    return {
      fingerprint: fingerprintOf(key, sha256Text(sha256Hex(secret))),
      text: secret,
      format,
      preview: previewOf(secret, format),
      shape: format === 'imported' ? { kind: 'plain', length: secret.length } : undefined,
      slow: undefined,
    }
  }
  const preview = lookup === undefined ? '…' : `${lookup.slice(0, SHOWN_OF_HINT)}…`
  if (lookup !== undefined) mustBeLookup(lookup)
  if (hash !== undefined && (algorithm === 'sha256-hex' || algorithm === 'sha256-base64')) {
    const text = sha256Text(readSha256(hash, algorithm))
    return {
      fingerprint: fingerprintOf(key, text),
      text,
      format: 'imported',
      preview,
      shape: { kind: 'sha256', length: 0 },
      slow: undefined,
    }
  }
  if (hash === undefined || algorithm === undefined || algorithm.startsWith('sha256')) {
    throw new CoreError(
      'invalid_input',
      'A hash needs its algorithm: sha256-hex, sha256-base64, bcrypt or argon2.',
    )
  }
  checkSlowHash(hash, algorithm as 'bcrypt' | 'argon2')
  if (lookup === undefined) {
    throw new CoreError(
      'invalid_input',
      `A ${algorithm} hash cannot be searched for. Give the first ${MIN_HINT} to ${MAX_HINT} characters of the secret as lookup.`,
    )
  }
  return {
    fingerprint: fingerprintOf(key, hash),
    text: undefined,
    format: 'imported',
    preview,
    shape: { kind: 'hint', length: lookup.length },
    slow: { hint: hintOf(key, lookup), hash },
  }
}

function mustBeStrong(secret: string): void {
  const isFit = formatOf(secret) !== undefined || mayBeForeign(secret)
  if (isFit && new Set(secret).size >= LEAST_DIFFERENT) return
  throw new CoreError(
    'invalid_input',
    `A secret has 16 to 512 printable ASCII characters without space and comma, at least ${LEAST_DIFFERENT} of them different; one that begins with mm_ must be whole.`,
  )
}

function mustBeLookup(lookup: string): void {
  if (lookup.length >= MIN_HINT && lookup.length <= MAX_HINT && /^[!-+\--~]+$/.test(lookup)) return
  throw new CoreError(
    'invalid_input',
    `lookup must be the first ${MIN_HINT} to ${MAX_HINT} characters of the secret.`,
  )
}

/** Looked at before anything is written, because a row that fails must not fail the others. */
function checkTexts(deps: Deps, row: RowWish): void {
  checkName(row.name, { what: 'The token name', maxLength: 255 })
  checkName(row.owner, { what: 'The owner', maxLength: 150 })
  checkProse(row.description ?? '', { what: 'The description', maxLength: 2000 })
  checkJsonObject(row.metadata ?? {}, 'The metadata')
  if (row.externalId !== undefined) {
    checkName(row.externalId, { what: 'The external id', maxLength: 255 })
  }
  const nowMs = deps.clock.now()
  if (row.createdAtMs !== undefined && !(row.createdAtMs >= 0 && row.createdAtMs <= nowMs)) {
    throw new CoreError('invalid_input', 'created_at must be an instant in the past.')
  }
  if (typeof row.expiresAtMs === 'number' && row.expiresAtMs <= nowMs) {
    throw new CoreError('token_not_active', 'The token has expired. Leave it out.')
  }
}

async function mustBeNew(
  deps: Deps,
  tx: Repositories,
  row: RowWish,
  { text, slow }: Material,
): Promise<void> {
  if (text !== undefined) {
    // As it is, or as the other spelling of it that was imported before.
    for (const pepper of deps.keyring.peppers()) {
      if ((await tx.tokens.byDigest(digestOf(text, pepper))) === undefined) continue
      throw new CoreError('conflict', 'Another token has this secret.')
    }
  }
  if (slow !== undefined && (await tx.imports.countHashes(slow.hint)) >= MAX_HASHES_PER_HINT) {
    throw new CoreError(
      'conflict',
      `${MAX_HASHES_PER_HINT} tokens that were not used yet begin with this lookup. Give more characters of "${row.name}".`,
    )
  }
}

interface RowOwner {
  user: User
  /** The import made the user, and so may put it into groups. */
  isMade: boolean
}

async function ownerOf(
  deps: Deps,
  tx: Repositories,
  { caller, wish }: Batch,
  row: RowWish,
): Promise<RowOwner> {
  const user = await tx.users.byUsernameKey(nameKey(row.owner))
  if (user !== undefined) {
    return { user, isMade: await tx.imports.wasMade(wish.importId, user.id) }
  }
  if (wish.createOwners === undefined) {
    throw new CoreError(
      'not_found',
      `There is no user "${row.owner}". Create the user, or let the import create owners.`,
    )
  }
  // Said for what it is: a new user holds neither.
  if ((row.roles ?? []).length > 0 || (row.scopes ?? []).length > 0) {
    throw new CoreError(
      'beyond_rights',
      `The user "${row.owner}" would be new and hold no roles and scopes. Create the user with them first.`,
    )
  }
  for (const { group } of row.groups ?? []) {
    if (!wish.createGroups) await groupNamed(tx, group)
  }
  const made = await createUser(deps, tx, {
    caller,
    wish: { username: row.owner, kind: wish.createOwners },
  })
  await tx.imports.insertMade(wish.importId, made.id)
  return { user: made, isMade: true }
}

async function groupNamed(tx: Repositories, name: string): Promise<GroupId> {
  const group = isId(name)
    ? await tx.groups.byId(name as GroupId)
    : await tx.groups.byNameKey(nameKey(name))
  if (group !== undefined) return group.id
  throw new CoreError(
    'not_found',
    `There is no group "${name}". Create it, or let the import create groups.`,
  )
}

async function groupsOf(
  deps: Deps,
  tx: Repositories,
  { caller, wish }: Batch,
  { row, owner }: { row: RowWish; owner: RowOwner },
): Promise<Limits['groups']> {
  if (row.groups === null) return null
  const limits: { id: GroupId; mode: Mode }[] = []
  for (const { group, mode } of row.groups ?? []) {
    const known = isId(group) ? undefined : await tx.groups.byNameKey(nameKey(group))
    let id = known?.id
    if (id === undefined && wish.createGroups && !isId(group)) {
      id = (await createGroup(deps, tx, { caller, wish: { name: group } })).id
      await tx.imports.insertMade(wish.importId, id)
    }
    id ??= await groupNamed(tx, group)
    const isOurs = owner.isMade || (await tx.imports.wasMade(wish.importId, id))
    const held = await tx.groups.mode(owner.user.id, id)
    // Nobody who was here before gets into a group that was here before.
    if (isOurs && (held === undefined || rank(held) < rank(mode))) {
      await setMembership(deps, tx, {
        caller,
        wish: { groupId: id, userId: owner.user.id as UserId, mode },
      })
    }
    limits.push({ id, mode })
  }
  return limits
}

const rank = (mode: Mode) => ['READ', 'WRITE', 'ADMIN'].indexOf(mode)

async function saveRow(
  deps: Deps,
  tx: Repositories,
  batch: Batch,
  { row, material, owner }: { row: RowWish; material: Material; owner: RowOwner },
): Promise<TokenId> {
  const { caller, wish } = batch
  const kind = row.kind ?? 'api'
  if (await tx.tokens.hasLiveName(owner.user.id, nameKey(row.name))) {
    throw new CoreError('name_taken', 'The owner has a token of this name. Choose another.')
  }
  const limits: Limits = {
    accessLevel: row.accessLevel ?? 'READ_ONLY',
    roles: row.roles === undefined ? [] : row.roles,
    groups: await groupsOf(deps, tx, batch, { row, owner }),
    scopes: row.scopes === undefined ? [] : row.scopes,
    allowedIps: row.allowedIps ?? null,
  }
  const expires = row.expiresAtMs === undefined ? 'default' : (row.expiresAtMs ?? 'never')
  const settled = await settleWish(deps, tx, {
    caller,
    wish: { ownerId: owner.user.id, kind, limits, expires },
  })
  const id = deps.newId() as TokenId
  const pepper = deps.keyring.pepper()
  await saveToken(deps, tx, {
    id,
    actor: caller,
    ownerId: owner.user.id,
    creatorId: caller.principal.user.id,
    creatorTokenId: caller.principal.token.id,
    kind,
    name: row.name,
    description: row.description ?? '',
    ...settled,
    metadata: row.metadata ?? {},
    via: 'import',
    format: 'imported',
    ...(row.createdAtMs === undefined ? {} : { createdAtMs: row.createdAtMs }),
    imported: {
      format: material.format,
      preview: material.preview,
      // Until the first use there is nothing to digest; `mayBeForeign` refuses it where it is presented.
      digest: digestOf(material.text ?? `import:${id}`, pepper),
    },
  })
  await tx.imports.insertRow({
    importId: wish.importId,
    rowKey: keyOfRow(row),
    tokenId: id,
    fingerprint: material.fingerprint,
  })
  if (material.slow !== undefined) {
    const key = deps.keyring.derived('import')
    const sealed = seal(material.slow.hash, { key, context: id, random: deps.random })
    await tx.imports.insertHash({ tokenId: id, hint: material.slow.hint, sealed })
  }
  const { shape } = material
  if (shape !== undefined && (await tx.imports.addShape(shape))) {
    await tx.changes.append({ subject: 'import', id: shape.kind })
  }
  return id
}

/** How much of an import is done. Throws `forbidden`. */
export async function readImport(
  deps: Deps,
  caller: Caller,
  importId: string,
): Promise<{ importId: string; tokens: number }> {
  mustBeAllowed(caller.principal, 'token.import', { what: undefined, policy: deps.policy() })
  return { importId, tokens: await deps.store.imports.countRows(importId) }
}
