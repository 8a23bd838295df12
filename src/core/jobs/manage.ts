import { can, mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import type { JobId } from '../id.ts'
import { type Page, type Position, pageOf } from '../page.ts'
import type { Repositories } from '../store.ts'
import { checkProse } from '../text.ts'
import { alive, type BlastRadius, blastRadius } from '../tokens/blast-radius.ts'
import type { TokenQuery } from '../tokens/filter.ts'
import { compileQuery, redacted } from '../tokens/inventory.ts'
import { parseQuery } from '../tokens/query.ts'
import { type BulkAction, isOpen, type Job } from './job.ts'

export interface BulkWish {
  action: BulkAction
  /** In the query language; it must say something. */
  query: string
  reason: string
  /** Of `set_expiry`: when the tokens end at the latest. */
  expiresAtMs?: number
}

/** What is to be done, and to which tokens, once it is settled that the caller may ask for it. */
export interface BulkPlan extends BulkWish {
  tokens: TokenQuery
}

const MAX_OPEN_JOBS = 10

/**
 * Reads a wish for a bulk action: never about tokens that the caller may not list, nor about the one
 * that the caller is using. Throws `invalid_input` (with a column, for the query) and `forbidden`.
 */
export async function planBulk(deps: Deps, caller: Caller, wish: BulkWish): Promise<BulkPlan> {
  mustBeAllowed(caller.principal, 'job.create', { what: undefined, policy: deps.policy() })
  const { filter } = parseQuery(wish.query)
  if ('all' in filter && filter.all.length === 0) {
    throw new CoreError(
      'invalid_input',
      'Say which tokens are meant, such as owner:alice. For all of them: state:active,expired,superseded.',
    )
  }
  const nowMs = deps.clock.now()
  checkExpiry(wish, nowMs)
  const reason = checkProse(wish.reason, { what: 'The reason', maxLength: 500 })
  const { tokens } = await compileQuery(deps, caller, { query: wish.query, filter: {} })
  const parts = 'all' in tokens ? tokens.all : [tokens]
  return { ...wish, reason, tokens: { all: [...parts, ...boundsOf(wish, caller, nowMs)] } }
}

function checkExpiry({ action, expiresAtMs }: BulkWish, nowMs: number): void {
  if (action === 'revoke') {
    if (expiresAtMs === undefined) return
    throw new CoreError('invalid_input', 'Revoking takes no expiresAt. Use the action set_expiry.')
  }
  if (expiresAtMs === undefined) {
    throw new CoreError('invalid_input', 'The action set_expiry needs expiresAt.')
  }
  if (expiresAtMs > nowMs) return
  throw new CoreError('invalid_input', 'expiresAt must lie ahead. To end tokens now, revoke them.')
}

/** Nothing that is made from now on, nor what a bulk action can do nothing about. */
function boundsOf({ action }: BulkWish, { principal }: Caller, nowMs: number): TokenQuery[] {
  return [
    { field: 'created', during: { untilMs: nowMs + 1 } },
    // Whoever ends the token in use says so with `revokeSelf`.
    { not: { field: 'id', oneOf: [principal.token.id] } },
    // Sessions and tokens of OAuth clients end as their engine has it.
    ...(action === 'set_expiry' ? [{ field: 'kind', oneOf: ['api', 'service'] } as const] : []),
  ]
}

/** What a bulk action would hit, without doing it. Throws what `planBulk` throws. */
export async function rehearseBulk(
  deps: Deps,
  caller: Caller,
  wish: BulkWish,
): Promise<BlastRadius> {
  const { action, tokens } = await planBulk(deps, caller, wish)
  return blastRadius(deps, { tokens, effect: action === 'revoke' ? 'revoked' : 'narrowed' })
}

/** Puts a bulk action in line. Throws `too_many_requests` when the caller has enough of them under way. */
export async function createJob(
  deps: Deps,
  tx: Repositories,
  { caller, plan }: { caller: Caller; plan: BulkPlan },
): Promise<Job> {
  const { principal, origin } = caller
  if ((await tx.jobs.countOpen(principal.user.id)) >= MAX_OPEN_JOBS) {
    throw new CoreError(
      'too_many_requests',
      `You have ${MAX_OPEN_JOBS} jobs under way. Wait for one of them, or cancel it.`,
      { retryAfterSeconds: 10 },
    )
  }
  const nowMs = deps.clock.now()
  const job: Job = {
    id: deps.newId() as JobId,
    action: plan.action,
    expiresAtMs: plan.expiresAtMs,
    query: redacted(plan.query),
    tokens: alive(plan.tokens),
    reason: plan.reason,
    ownerId: principal.user.id,
    tokenId: principal.token.id,
    origin,
    outlivesToken: false,
    state: 'selecting',
    problem: undefined,
    place: undefined,
    total: 0,
    done: 0,
    changed: 0,
    skipped: 0,
    createdAtMs: nowMs,
    startedAtMs: undefined,
    updatedAtMs: nowMs,
    finishedAtMs: undefined,
  }
  await tx.jobs.insert(job)
  await deps.audit(tx, caller, {
    action: 'job.created',
    subjectType: 'job',
    subjectId: job.id,
    after: {
      action: job.action,
      query: job.query,
      reason: job.reason,
      ...(job.expiresAtMs === undefined ? {} : { expiresAtMs: job.expiresAtMs }),
    },
  })
  return job
}

/** Throws `not_found`, also for a job that the caller may not see. */
export async function getJob(deps: Deps, caller: Caller, id: JobId): Promise<Job> {
  return visible(deps, caller, await deps.store.jobs.byId(id))
}

function visible(deps: Deps, { principal }: Caller, job: Job | undefined): Job {
  if (job === undefined) throw notFound('job')
  if (!can(principal, 'job.read', { what: job, policy: deps.policy() })) throw notFound('job')
  return job
}

export interface JobListWish {
  open?: boolean
  from: Position | undefined
  size: number
}

/** One page, newest first; whoever is no admin sees the own. */
export async function listJobs(
  deps: Deps,
  { principal }: Caller,
  { open, from, size }: JobListWish,
): Promise<Page<Job>> {
  const policy = deps.policy()
  const seesAll = can(principal, 'job.list', { what: { ownerId: undefined }, policy })
  const filter = {
    ...(seesAll ? {} : { ownerId: principal.user.id }),
    ...(open === undefined ? {} : { open }),
  }
  const rows = await deps.store.jobs.list(filter, from, size + 1)
  return pageOf(rows, { size, from, positionOf: (job) => [job.createdAtMs, job.id] })
}

/**
 * Stops a job after the batch that it is at; what it has done stays done. Cancelling what is over
 * changes nothing. Throws `not_found`, `forbidden`.
 */
export async function cancelJob(
  deps: Deps,
  tx: Repositories,
  { caller, id }: { caller: Caller; id: JobId },
): Promise<Job> {
  const job = visible(deps, caller, await tx.jobs.byId(id))
  mustBeAllowed(caller.principal, 'job.cancel', { what: job, policy: deps.policy() })
  if (!isOpen(job)) return job
  const nowMs = deps.clock.now()
  const cancelled: Job = { ...job, state: 'cancelled', updatedAtMs: nowMs, finishedAtMs: nowMs }
  await tx.jobs.update(cancelled)
  await deps.audit(tx, caller, {
    action: 'job.cancelled',
    subjectType: 'job',
    subjectId: id,
    after: { total: job.total, done: job.done, changed: job.changed, skipped: job.skipped },
  })
  return cancelled
}
