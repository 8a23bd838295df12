import { type Static, Type } from 'typebox'
import type { Core } from '../../core/core.ts'
import type { JobId } from '../../core/id.ts'
import { BULK_ACTIONS, type Job as CoreJob, JOB_STATES, secondsLeft } from '../../core/jobs/job.ts'
import type { BulkWish } from '../../core/jobs/manage.ts'
import { MAX_QUERY_LENGTH } from '../../core/tokens/query.ts'
import { acknowledgementOf } from '../acknowledge.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { BlastRadius, blastRadiusOut } from './blast-radius.ts'
import { cursorsFor, instant, instantOrNull, pageOut, pageWish, parseInstant } from './format.ts'
import { doOnce, onceHeaders } from './once.ts'
import { Id, Instant, PageQuery, pageOf, problems } from './schemas.ts'

const tags = ['jobs']
const params = Type.Object({ id: Id })
/** Longer than a node that has not heard of the end of a job goes on answering. */
const FRESH_MS = 60_000

export const BulkRequest = Type.Object(
  {
    action: Type.Enum([...BULK_ACTIONS], {
      description: '`set_expiry` only brings an end forward, and is for api and service tokens',
    }),
    q: Type.String({
      maxLength: MAX_QUERY_LENGTH,
      description: 'Which tokens, as in `GET /tokens`; never the one that asks',
    }),
    reason: Type.Optional(Type.String({ maxLength: 500 })),
    expiresAt: Type.Optional(
      Type.String({ format: 'date-time', description: 'Of `set_expiry`: the latest end' }),
    ),
    dry_run: Type.Optional(
      Type.Boolean({ description: 'Change nothing, and answer what would be hit (200)' }),
    ),
  },
  { additionalProperties: false },
)

export const Job = Type.Object({
  id: Id,
  action: Type.Enum([...BULK_ACTIONS]),
  expiresAt: Nullable(Instant),
  q: Type.String(),
  reason: Type.String(),
  owner: Type.Object({ id: Id, username: Nullable(Type.String()) }, { description: 'Who asked' }),
  state: Type.Enum([...JOB_STATES], {
    description: '`selecting` its tokens, `running`, or over: `done`, `cancelled`, `failed`',
  }),
  problem: Nullable(Type.String({ description: 'Why it failed' })),
  total: Type.Integer({ description: 'Tokens that the query selected; grows while selecting' }),
  done: Type.Integer({ description: 'How many of them it has dealt with' }),
  changed: Type.Integer({ description: 'Tokens changed, families and children included' }),
  skipped: Type.Integer({
    description: 'Selected tokens left as they are: ended meanwhile, or not the asker’s to change',
  }),
  secondsLeft: Nullable(Type.Integer({ description: 'At the pace so far' })),
  createdAt: Instant,
  startedAt: Nullable(Instant),
  updatedAt: Instant,
  finishedAt: Nullable(Instant),
})

function wishOf({ action, q, reason, expiresAt }: Static<typeof BulkRequest>): BulkWish {
  return {
    action,
    query: q,
    reason: reason ?? '',
    ...(expiresAt === undefined ? {} : { expiresAtMs: parseInstant(expiresAt) }),
  }
}

/** Actions on all tokens that a query means, and how far they are. */
export function jobRoutes(app: Scope, { core, config, jobs }: ApiParts): void {
  const list = core.cursors('jobs')

  app.post(
    '/tokens::bulk',
    {
      config: { weight: 'vital' },
      schema: {
        tags,
        summary: 'Revoke all tokens that a query selects, or bring their end forward',
        description:
          'Answers at once with a job that does it in batches and goes on after a restart. Tokens that are made later are never part of it. Admins act on all tokens, others on their own.',
        headers: onceHeaders,
        body: BulkRequest,
        response: { 200: BlastRadius, 202: Job, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const wish = wishOf(request.body)
      if (request.body.dry_run === true) {
        return blastRadiusOut(core, await core.rehearse.bulk(caller, wish))
      }
      const plan = await core.planBulk(caller, wish)
      const asked = ['bulk', request.body]
      const { id } = await doOnce(core, { request, reply, asked }, async (w) => ({
        id: (await w.createJob({ caller, plan })).id,
      }))
      jobs.wake()
      const job = await core.read.job(caller, id)
      return reply
        .code(202)
        .header('location', `/api/v1/jobs/${id}`)
        .send(await one(core, job))
    },
  )

  app.get(
    '/jobs',
    {
      schema: {
        tags,
        summary: 'List jobs, newest first; admins see all, others their own',
        querystring: Type.Object(
          { ...PageQuery, open: Type.Optional(Type.Enum(['true', 'false'])) },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(Job), ...problems },
      },
    },
    async (request) => {
      const { open } = request.query
      const cursors = cursorsFor(list, request)
      const page = await core.read.jobs(callerOf(request), {
        ...pageWish(request.query, cursors),
        ...(open === undefined ? {} : { open: open === 'true' }),
      })
      const items = await shown(core, page.items)
      return { ...pageOut(page, cursors, (job) => job.id), items }
    },
  )

  app.get(
    '/jobs/:id',
    {
      schema: { tags, summary: 'How far a job is', params, response: { 200: Job, ...problems } },
    },
    async (request) => {
      const job = await core.read.job(callerOf(request), request.params.id as JobId)
      const { finishedAtMs } = job
      // Whoever waits for the end relies on it as on the answer to a revocation.
      if (finishedAtMs !== undefined && core.clock.now() < finishedAtMs + FRESH_MS) {
        await acknowledgementOf(request, { core, config })
      }
      return one(core, job)
    },
  )

  app.post(
    '/jobs/:id/cancel',
    {
      schema: {
        tags,
        summary: 'Stop a job; what it has done stays done',
        params,
        response: { 200: Job, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const id = request.params.id as JobId
      return one(core, await core.write((w) => w.cancelJob({ caller, id })))
    },
  )
}

async function one(core: Core, job: CoreJob) {
  const usernames = await core.usernames([job.ownerId])
  return jobOut(job, { username: usernames.get(job.ownerId), nowMs: core.clock.now() })
}

async function shown(core: Core, jobs: readonly CoreJob[]) {
  const usernames = await core.usernames(jobs.map(({ ownerId }) => ownerId))
  const nowMs = core.clock.now()
  return jobs.map((job) => jobOut(job, { username: usernames.get(job.ownerId), nowMs }))
}

function jobOut(
  job: CoreJob,
  { username, nowMs }: { username: string | undefined; nowMs: number },
) {
  return {
    id: job.id,
    action: job.action,
    expiresAt: instantOrNull(job.expiresAtMs),
    q: job.query,
    reason: job.reason,
    owner: { id: job.ownerId, username: username ?? null },
    state: job.state,
    problem: job.problem ?? null,
    total: job.total,
    done: job.done,
    changed: job.changed,
    skipped: job.skipped,
    secondsLeft: secondsLeft(job, nowMs) ?? null,
    createdAt: instant(job.createdAtMs),
    startedAt: instantOrNull(job.startedAtMs),
    updatedAt: instant(job.updatedAtMs),
    finishedAt: instantOrNull(job.finishedAtMs),
  }
}
