import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import type { Caller, Origin } from '../caller.ts'
import { eventDraft } from '../events/event.ts'
import type { Repositories } from '../store.ts'
import type { User } from '../users/user.ts'
import { type AuditEvent, canonicalBytes, type SealedFields } from './event.ts'

/** The hash before the first record. */
export const CHAIN_START = '0'.repeat(43)

/** HMAC-SHA-256 over a record and its predecessor's hash: who lacks the key cannot mend the chain. */
export function chainHash(key: Buffer, previous: string, record: SealedFields): string {
  return createHmac('sha256', keyObjectOf(key))
    .update(`${previous}\n${canonicalBytes(record)}`)
    .digest('base64url')
}

/** Made once per key: making one costs several times what the hash does. */
const keyObjects = new WeakMap<Buffer, KeyObject>()

function keyObjectOf(key: Buffer): KeyObject {
  const known = keyObjects.get(key) ?? createSecretKey(key)
  keyObjects.set(key, known)
  return known
}

/** Who acted: a caller, somebody who just logged in (`user`), or the server or nobody known (`{ origin }` alone). */
export type Actor =
  | Caller
  | { origin: Origin; principal?: undefined; user?: Pick<User, 'id' | 'username'> }

export type Recorder = (tx: Repositories, actor: Actor, event: AuditEvent) => Promise<void>

/**
 * Writes an event in the same transaction as the change it tells of, sealed into the chain: when the
 * record cannot be written, the change does not happen.
 */
export function auditRecorder(options: { key: () => Buffer; now: () => number }): Recorder {
  return async (tx, actor, event) => {
    const user = actor.principal === undefined ? actor.user : actor.principal.user
    const facts = {
      ...event,
      atMs: options.now(),
      actorId: user?.id,
      actorName: user?.username,
      actorTokenId: actor.principal?.token.id,
      ip: actor.origin.ip,
      requestId: actor.origin.requestId,
      via: actor.origin.via,
    }
    await tx.audit.append((last) => {
      const fields: SealedFields = { ...facts, sequence: (last?.sequence ?? 0) + 1 }
      return { ...fields, hash: chainHash(options.key(), last?.hash ?? CHAIN_START, fields) }
    }, eventDraft(facts))
  }
}
