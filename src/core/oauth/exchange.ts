import { createHash } from 'node:crypto'
import type { Origin } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { deriveKey, seal, unseal } from '../seal.ts'
import type { Secret } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { stateOf, type Token } from '../tokens/token.ts'
import { addRecord, consumeRecord, findRecord } from './records.ts'
import { type EngineToken, saveHeldToken, spendEngineToken } from './tokens.ts'

/** All that one request to the token endpoint changes: it happens whole or not at all. */
export interface Exchange {
  origin: Origin
  /** The code or refresh token that is spent for it. */
  spends: Token | undefined
  /** A device code that is spent for it. */
  consumes: { model: string; id: string } | undefined
  saves: readonly EngineToken[]
  /** Kept for a client that repeats its request because the answer got lost. */
  retry: RetryAnswer | undefined
}

export interface RetryAnswer {
  /** The refresh token that was presented: its holder alone can open the answer. */
  presented: Secret
  /** What was asked, client included; another request does not get the answer. */
  request: unknown
  body: unknown
  ttlMs: number
}

/**
 * Spends what is presented and saves what is given out, in one transaction. `spent`: somebody was
 * faster, and nothing was changed. Throws `token_not_active` when a revocation was faster.
 */
export async function exchange(
  deps: Deps,
  tx: Repositories,
  { origin, spends, consumes, saves, retry }: Exchange,
): Promise<'done' | 'spent'> {
  const successor = saves.find(({ kind }) => kind === 'oauth_refresh')
  const by = spends?.kind === 'oauth_refresh' ? successor?.id : undefined
  // First, because whoever revokes goes from the top down, too, and waits there or makes us wait.
  for (const token of saves) await tx.tokens.hold(token)
  if (spends !== undefined && !(await spendEngineToken(deps, tx, { origin, token: spends, by }))) {
    return 'spent'
  }
  if (consumes !== undefined && !(await consumeRecord(deps, tx, consumes))) return 'spent'
  for (const token of saves) await saveHeldToken(deps, tx, { origin, token })
  if (retry !== undefined) await keepAnswer(deps, tx, retry)
  return 'done'
}

const MODEL = 'RefreshAnswer'

async function keepAnswer(
  deps: Deps,
  tx: Repositories,
  { presented, request, body, ttlMs }: RetryAnswer,
): Promise<void> {
  const secret = presented.reveal()
  const sealed = seal(JSON.stringify(body), {
    key: answerKey(deps, secret),
    context: digestOfRequest(request),
    random: deps.random,
  })
  await addRecord(deps, tx, {
    model: MODEL,
    id: secret,
    payload: { sealed },
    expiresAtMs: deps.clock.now() + ttlMs,
  })
}

/**
 * The answer that this very request got a moment ago, if its successor has not been used yet: a retry
 * or a race of one client, not a thief.
 */
export async function repeatedAnswer(
  deps: Deps,
  { token, presented, request }: { token: Token; presented: Secret; request: unknown },
): Promise<unknown> {
  const now = await deps.store.tokens.byId(token.id)
  const successor =
    now?.supersededBy === undefined ? undefined : await deps.store.tokens.byId(now.supersededBy)
  if (successor === undefined || stateOf(successor, deps.clock.now()) !== 'active') return undefined
  const secret = presented.reveal()
  const found = await findRecord(deps, { model: MODEL, id: secret })
  if (found === undefined) return undefined
  const plain = unseal(String(found.payload.sealed), {
    key: answerKey(deps, secret),
    context: digestOfRequest(request),
  })
  return plain === undefined ? undefined : JSON.parse(plain.toString())
}

function answerKey({ keyring }: Deps, secret: string): Buffer {
  return deriveKey(keyring.derived('refresh-grace'), 'answer', secret)
}

function digestOfRequest(request: unknown): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('base64url')
}
