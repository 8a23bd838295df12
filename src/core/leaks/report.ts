import { createHash } from 'node:crypto'
import { mustBeAllowed } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import type { TokenId } from '../id.ts'
import type { LeakAction } from '../policy/policy.ts'
import { secretFault } from '../secret.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import { quarantineSettled } from '../tokens/quarantine.ts'
import { revokeSettled } from '../tokens/revoke.ts'
import { stateOf, type Token } from '../tokens/token.ts'
import type { Verifier } from '../tokens/verify.ts'

/** A secret that was seen where it should not be. */
export interface FoundSecret {
  /** As it was found, or the token that a signed access token stands for. */
  secret: string | { tokenId: TokenId }
  /** What found it or where, as the reporter names it. */
  source: string
  /** Where it can be seen; may be empty. */
  url: string
}

/** What came of one found secret. */
export interface LeakOutcome {
  /** Absent: it is none of ours. */
  tokenId: TokenId | undefined
  /** `none`: there was nothing to stop, or it was reported before. */
  action: LeakAction | 'none'
}

type LeakDeps = Deps & { verifier: Verifier }

/** The same leak is told of once in this time, however often scanners come by. */
const SAME_LEAK_MS = 86_400_000
const MAX_TEXT = 500

/**
 * Takes found secrets from somebody who may report them, and does with their tokens what the policy says.
 * The outcomes are for those who may read every token. Throws `forbidden`, `invalid_input`.
 */
export async function reportLeaks(
  deps: LeakDeps,
  { caller, found }: { caller: Caller; found: readonly FoundSecret[] },
): Promise<LeakOutcome[]> {
  mustBeAllowed(caller.principal, 'leak.report', { what: undefined, policy: deps.policy() })
  return reportSettled(deps, { actor: caller, found })
}

/** The same for a reporter whose signature was checked. */
export async function reportSettled(
  deps: LeakDeps,
  { actor, found }: { actor: Actor; found: readonly FoundSecret[] },
): Promise<LeakOutcome[]> {
  const checked = found.map(({ secret, source, url }) => ({
    secret,
    source: checkProse(source, { what: 'The source', maxLength: MAX_TEXT }),
    url: checkProse(url, { what: 'The url', maxLength: 2000 }),
  }))
  const outcomes: LeakOutcome[] = []
  for (const each of checked) outcomes.push(await takeOne(deps, actor, each))
  return outcomes
}

async function takeOne(
  deps: LeakDeps,
  actor: Actor,
  { secret, source, url }: FoundSecret,
): Promise<LeakOutcome> {
  const id = await tokenOf(deps, secret)
  if (id === undefined) return { tokenId: undefined, action: 'none' }
  return deps.store.transaction(async (tx) => {
    // A person has shown who they are; a signed report is good for ever.
    const isReplayable = actor.principal === undefined
    if (!(await isNews(deps, tx, { id, url, source, isReplayable }))) {
      return { tokenId: id, action: 'none' as const }
    }
    // Only seen: a revocation locks its grant before it, as everywhere.
    const token = await tx.tokens.glance(id)
    if (token === undefined) return { tokenId: undefined, action: 'none' as const }
    const action = actionOn(token, deps)
    await deps.audit(tx, actor, {
      action: 'token.leaked',
      subjectType: 'token',
      subjectId: id,
      after: { source, url, action },
    })
    const reason = url === '' ? `leaked: ${source}` : `leaked: ${source}, ${url}`
    // The server acts, by its policy; who reported is in the record above.
    const server: Actor = { origin: { ...actor.origin, via: 'system' } }
    const what = { actor: server, token, reason: reason.slice(0, MAX_TEXT) }
    if (action === 'quarantine') await quarantineSettled(deps, tx, what)
    if (action === 'revoke') await revokeSettled(deps, tx, what)
    return { tokenId: id, action }
  })
}

async function tokenOf(
  { verifier }: LeakDeps,
  secret: FoundSecret['secret'],
): Promise<TokenId | undefined> {
  if (typeof secret !== 'string') return secret.tokenId
  if (secretFault(secret) !== undefined && !verifier.mayBeImported(secret)) return undefined
  return (await verifier.inspect(secret))?.token.id
}

/** What is over needs nothing done to it; that it leaked is told all the same. */
function actionOn(token: Token, { policy, clock }: Deps): LeakOutcome['action'] {
  const state = stateOf(token, clock.now())
  if (state !== 'active' && state !== 'quarantined') return 'none'
  const { leakAction } = policy()
  // What its owner stopped, its owner may start again.
  const isStopped = state === 'quarantined' && token.quarantinedBy !== token.ownerId
  return leakAction === 'quarantine' && isStopped ? 'none' : leakAction
}

/**
 * Whether somebody must hear of it. What was released since is not reported anew by the same place: a
 * signed report bears no date, so that whoever keeps one could stop the token again and again. Only one of
 * ours that names no place says nothing of where, and counts every time.
 */
function isNews(
  { clock }: Deps,
  tx: Repositories,
  {
    id,
    url,
    source,
    isReplayable,
  }: { id: TokenId; isReplayable: boolean } & Omit<FoundSecret, 'secret'>,
): Promise<boolean> {
  const atMs = clock.now()
  return tx.leaks.note({
    tokenId: id,
    place: createHash('sha256')
      .update(JSON.stringify([source, url]))
      .digest('base64url'),
    atMs,
    sinceMs: atMs - SAME_LEAK_MS,
    evenIfSettled: url === '' && !isReplayable,
  })
}
