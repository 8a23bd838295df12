import { createHmac } from 'node:crypto'
import type { Deps } from '../deps.ts'
import { seal, unseal } from '../seal.ts'
import type { OauthRecord, Repositories } from '../store.ts'

/**
 * What the engine keeps for minutes or hours and hands to browsers and devices by an id that opens it:
 * sessions, interactions, device codes, pushed requests. Stored by the id's digest, sealed.
 */
export interface EngineRecord {
  model: string
  id: string
  /** A second id by which it is found. */
  uid?: string
  /** What a person types to find it. */
  userCode?: string
  grantId?: string
  payload: Record<string, unknown>
  expiresAtMs: number
}

export interface FoundRecord {
  payload: Record<string, unknown>
  expiresAtMs: number
  consumedAtMs: number | undefined
}

/** Digests are keyed by a derived key that never changes, so a record outlives a change of peppers. */
const digest = ({ keyring }: Deps, text: string): string =>
  createHmac('sha256', keyring.derived('oauth-record')).update(text).digest('base64url')

const idOf = (deps: Deps, model: string, id: string) => digest(deps, `${model}:${id}`)

function toRow(deps: Deps, record: EngineRecord): OauthRecord {
  const id = idOf(deps, record.model, record.id)
  const other = (kind: string, value: string | undefined) =>
    value === undefined ? undefined : digest(deps, `${record.model}:${kind}:${value}`)
  return {
    digest: id,
    model: record.model,
    uidDigest: other('uid', record.uid),
    userCodeDigest: other('user-code', record.userCode),
    grantId: record.grantId,
    sealed: seal(JSON.stringify(record.payload), {
      key: deps.keyring.derived('oauth'),
      context: `record:${id}`,
      random: deps.random,
    }),
    expiresAtMs: record.expiresAtMs,
    consumedAtMs: undefined,
  }
}

function toFound(deps: Deps, row: OauthRecord | undefined): FoundRecord | undefined {
  if (row === undefined || row.expiresAtMs <= deps.clock.now()) return undefined
  const plain = unseal(row.sealed, {
    key: deps.keyring.derived('oauth'),
    context: `record:${row.digest}`,
  })
  if (plain === undefined) return undefined
  return {
    // Opens under our key, so it is what was sealed above.
    payload: JSON.parse(plain.toString()) as Record<string, unknown>,
    expiresAtMs: row.expiresAtMs,
    consumedAtMs: row.consumedAtMs,
  }
}

export async function putRecord(deps: Deps, tx: Repositories, record: EngineRecord): Promise<void> {
  await tx.oauthRecords.put(toRow(deps, record))
}

/** Saves it unless it is there; false: it was. Racing callers have one winner. */
export async function addRecord(
  deps: Deps,
  tx: Repositories,
  record: EngineRecord,
): Promise<boolean> {
  return tx.oauthRecords.add(toRow(deps, record), deps.clock.now())
}

export async function findRecord(
  deps: Deps,
  { model, id }: { model: string; id: string },
  within: Repositories = deps.store,
): Promise<FoundRecord | undefined> {
  return toFound(deps, await within.oauthRecords.byDigest(idOf(deps, model, id)))
}

export async function findRecordByUid(
  deps: Deps,
  { model, uid }: { model: string; uid: string },
): Promise<FoundRecord | undefined> {
  return toFound(deps, await deps.store.oauthRecords.byUid(digest(deps, `${model}:uid:${uid}`)))
}

export async function findRecordByUserCode(
  deps: Deps,
  { model, userCode }: { model: string; userCode: string },
): Promise<FoundRecord | undefined> {
  const found = digest(deps, `${model}:user-code:${userCode}`)
  return toFound(deps, await deps.store.oauthRecords.byUserCode(found))
}

/** Marks it as used; false when it was used meanwhile, or is gone. */
export async function consumeRecord(
  deps: Deps,
  tx: Repositories,
  { model, id }: { model: string; id: string },
): Promise<boolean> {
  return tx.oauthRecords.consume(idOf(deps, model, id), deps.clock.now())
}

export async function removeRecord(
  deps: Deps,
  tx: Repositories,
  { model, id }: { model: string; id: string },
): Promise<void> {
  await tx.oauthRecords.remove(idOf(deps, model, id))
}
