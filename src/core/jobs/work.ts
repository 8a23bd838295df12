import { can } from '../access.ts'
import type { Actor } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import type { JobId, TokenId } from '../id.ts'
import type { Principal } from '../rights.ts'
import type { Repositories } from '../store.ts'
import { revokeSettledMany } from '../tokens/revoke.ts'
import { standingOf } from '../tokens/standing.ts'
import type { Token } from '../tokens/token.ts'
import type { Job } from './job.ts'

/** How long a node keeps a job to itself; it goes on where another node stopped for good. */
const LEASE_MS = 2000
/** Tokens picked in one transaction. */
const PICK = 500
/** Tokens changed in one transaction; as many as take so long, because others may wait for it. */
const MIN_BATCH = 10
const MAX_BATCH = 200
const BATCH_MS = 15

/** Does the bulk actions that were asked for, a batch at a time. */
export interface Worker {
  /** One batch of the job that has waited longest. Returns for how long it held others up; undefined: nothing to do. */
  step(): Promise<{ tookMs: number } | undefined>
}

/**
 * A worker of this node. Every batch is one transaction with the progress in it, so a job whose server
 * was killed goes on at its next token, here or on another node. `stopwatch` tells milliseconds.
 */
export function createWorker(deps: Deps, { stopwatch }: { stopwatch: () => number }): Worker {
  const node = deps.newId()
  let batch = MIN_BATCH

  function lease() {
    const nowMs = deps.clock.now()
    return { node, nowMs, untilMs: nowMs + LEASE_MS }
  }

  /** Runs `work` while this node has the job. */
  const holding = (id: JobId, work: (tx: Repositories, job: Job) => Promise<void>) =>
    deps.store.transaction(async (tx) => {
      const job = await tx.jobs.take(id, lease())
      if (job !== undefined) await work(tx, job)
    })

  async function pickTokens(job: Job): Promise<void> {
    const { tokens, place: after, createdAtMs: nowMs } = job
    const found = await deps.store.inventory.reach(tokens, { after, size: PICK, nowMs })
    const last = found.at(-1)
    await holding(job.id, async (tx, now) => {
      // Another node was here meanwhile.
      if (now.state !== 'selecting' || now.place?.id !== after?.id) return
      const atMs = deps.clock.now()
      if (last === undefined) {
        await save(deps, tx, { ...now, state: 'running', startedAtMs: atMs, updatedAtMs: atMs })
        return
      }
      await tx.jobs.pick(
        now.id,
        now.total,
        found.map(({ id }) => id),
      )
      const place = { at: last.createdAtMs, id: last.id }
      await tx.jobs.update({ ...now, place, total: now.total + found.length, updatedAtMs: atMs })
    })
  }

  /** Returns how long it took without the wait for its turn, which says nothing about its size. */
  async function changeTokens({ id }: Job, principal: Principal): Promise<number> {
    let tookMs = 0
    await holding(id, async (tx, job) => {
      if (job.state !== 'running') return
      const startedMs = stopwatch()
      const ids = await tx.jobs.picked(id, job.done, batch)
      const changed = await act(deps, tx, { job, principal, ids })
      const done = job.done + ids.length
      await tx.jobs.forget(id, done)
      await save(deps, tx, {
        ...job,
        done,
        changed: job.changed + changed.hits.length,
        skipped: job.skipped + changed.skipped,
        outlivesToken: job.outlivesToken || changed.hits.includes(job.tokenId),
        updatedAtMs: deps.clock.now(),
      })
      tookMs = stopwatch() - startedMs
    })
    const fitting = Math.round((batch * BATCH_MS) / Math.max(tookMs, 1))
    // Half the way there, since one measurement says little.
    batch = Math.min(MAX_BATCH, Math.max(MIN_BATCH, (batch + fitting) >> 1))
    return tookMs
  }

  return {
    async step() {
      const id = await deps.store.jobs.next(lease())
      const job = id === undefined ? undefined : await deps.store.jobs.byId(id)
      if (job === undefined) return undefined
      const startedMs = stopwatch()
      const principal = await askerOf(deps, job)
      if (principal === undefined) {
        await holding(job.id, (tx, now) => fail(deps, tx, now))
      } else if (job.state === 'selecting') {
        await pickTokens(job)
      } else {
        return { tookMs: await changeTokens(job, principal) }
      }
      return { tookMs: stopwatch() - startedMs }
    },
  }
}

/**
 * Who asked, with the rights of this moment; undefined: nobody any more. A token that the job itself
 * has ended does not end the job, because the end of a family would then depend on who asks for it.
 */
async function askerOf(deps: Deps, job: Job): Promise<Principal | undefined> {
  const standing = await standingOf(deps, deps.store, job.tokenId)
  if (standing === undefined) return undefined
  const { principal, state } = standing
  // A successor has the same rights as what it replaced.
  const mayAct = state === 'active' || state === 'superseded' || job.outlivesToken
  return mayAct ? principal : undefined
}

async function act(
  deps: Deps,
  tx: Repositories,
  { job, principal, ids }: { job: Job; principal: Principal; ids: TokenId[] },
): Promise<{ hits: TokenId[]; skipped: number }> {
  const tokens = await tx.tokens.byIds(ids)
  const policy = deps.policy()
  const action = job.action === 'revoke' ? 'token.revoke' : 'token.update'
  const allowed = tokens.filter((token) => can(principal, action, { what: token, policy }))
  const actor = { principal, origin: job.origin }
  const hits =
    job.action === 'revoke'
      ? (await revokeSettledMany(deps, tx, { actor, tokens: allowed, reason: job.reason })).revoked
      : await shortenAll(deps, tx, { actor, job, tokens: allowed })
  const hit = new Set(hits)
  return { hits, skipped: ids.filter((id) => !hit.has(id)).length }
}

async function shortenAll(
  deps: Deps,
  tx: Repositories,
  { actor, job, tokens }: { actor: Actor; job: Job; tokens: Token[] },
): Promise<TokenId[]> {
  const { expiresAtMs, reason } = job
  if (expiresAtMs === undefined) return []
  const before = new Map(tokens.map((token) => [token.id, token.expiresAtMs]))
  const hits = await tx.tokens.shorten([...before.keys()], expiresAtMs, deps.clock.now())
  for (const id of hits) {
    await tx.changes.append({ subject: 'token', id })
    await deps.audit(tx, actor, {
      action: 'token.updated',
      subjectType: 'token',
      subjectId: id,
      // What was derived from one of them ends with it.
      ...(before.has(id) ? { before: { expiresAtMs: before.get(id) ?? null } } : {}),
      after: { expiresAtMs, reason },
    })
  }
  return hits
}

/** Saves the progress, and ends the job once nothing is left. */
async function save(deps: Deps, tx: Repositories, job: Job): Promise<void> {
  if (job.state !== 'running' || job.done < job.total) {
    await tx.jobs.update(job)
    return
  }
  await finish(deps, tx, { ...job, state: 'done' })
}

async function fail(deps: Deps, tx: Repositories, job: Job): Promise<void> {
  const problem =
    'Whoever asked for this may no longer do it: the token has ended, or its owner was disabled.'
  await finish(deps, tx, { ...job, state: 'failed', problem })
}

async function finish(deps: Deps, tx: Repositories, job: Job): Promise<void> {
  const atMs = deps.clock.now()
  await tx.jobs.update({ ...job, updatedAtMs: atMs, finishedAtMs: atMs })
  const { state, total, done, changed, skipped, problem } = job
  await deps.audit(
    tx,
    { origin: { ...job.origin, via: 'system' } },
    {
      action: 'job.finished',
      subjectType: 'job',
      subjectId: job.id,
      after: {
        state,
        total,
        done,
        changed,
        skipped,
        ...(problem === undefined ? {} : { problem }),
      },
    },
  )
}
