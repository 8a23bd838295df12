import { isIP } from 'node:net'
import { type Static, type TSchema, Type } from 'typebox'
import { can } from '../../core/access.ts'
import type { Core } from '../../core/core.ts'
import { CoreError } from '../../core/errors.ts'
import type { Principal } from '../../core/rights.ts'
import { endOf, isForTokenEndpoint } from '../../core/tokens/token.ts'
import { type Demand, NO_DEMAND, type Verdict, type Yes } from '../../core/tokens/verdict.ts'
import { looksLikeJwt } from '../access-jwt.ts'
import { callerOf, verdictOn } from '../auth.ts'
import { bearerOf } from '../credential.ts'
import { keptAnswers } from '../kept-answers.ts'
import { type LaneAnswer, type LaneRoute, laneAnswer } from '../lane.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instantOrNull } from './format.ts'
import {
  AccessLevel,
  GroupGrant,
  Id,
  Instant,
  JsonObject,
  Mode,
  problems,
  TokenKind,
} from './schemas.ts'
import { rightsOut } from './session.ts'

export const Question = Type.Object(
  {
    token: Type.String({ minLength: 1, maxLength: 15_000, description: 'The secret to check' }),
    role: Type.Optional(Type.String({ maxLength: 63 })),
    scope: Type.Optional(Type.String({ maxLength: 128 })),
    group: Type.Optional(Type.String({ maxLength: 150, description: 'Name or id' })),
    mode: Type.Optional(Mode),
    ip: Type.Optional(
      Type.String({ maxLength: 64, description: 'Address of the client that presented the token' }),
    ),
    userAgent: Type.Optional(
      Type.String({
        maxLength: 512,
        description: 'What that client calls itself; for the figures of use and rotation alone',
      }),
    ),
    audience: Type.Optional(
      Type.String({
        maxLength: 2000,
        description: 'The resource that you are; a token for a resource is good there alone',
      }),
    ),
    boundKey: Type.Optional(
      Type.String({
        maxLength: 64,
        description: 'Thumbprint of the key whose DPoP proof you have checked (RFC 9449)',
      }),
    ),
  },
  { additionalProperties: false },
)

const Consistency = Type.Object({
  consistency: Type.Optional(
    Type.Enum(['strong'], {
      description:
        'Answers by what the database says now rather than by what this node remembers; costs a few queries',
    }),
  ),
})

const MAX_QUESTIONS = 100

/** Each with a demand of its own, or a secret alone. */
export const Questions = Type.Object(
  {
    questions: Type.Array(Type.Union([Question.properties.token, Question]), {
      minItems: 1,
      maxItems: MAX_QUESTIONS,
    }),
  },
  { additionalProperties: false },
)

/** One flat shape for both answers keeps the serializer a single compiled function. */
export const Answer = Type.Object({
  active: Type.Boolean(),
  reason: Type.Optional(
    Type.String({ description: 'Why not; only for admins, the owner and holders of `verifier`' }),
  ),
  retryAfterSeconds: Type.Optional(
    Type.Integer({
      description: 'With the reason rate_limited: when one more use is allowed',
    }),
  ),
  tokenId: Type.Optional(Id),
  kind: Type.Optional(TokenKind),
  name: Type.Optional(Nullable(Type.String())),
  owner: Type.Optional(Type.Object({ id: Id, username: Type.String() })),
  accessLevel: Type.Optional(AccessLevel),
  admin: Type.Optional(Type.Boolean()),
  roles: Type.Optional(Type.Array(Type.String())),
  groups: Type.Optional(Type.Array(GroupGrant)),
  scopes: Type.Optional(Nullable(Type.Array(Type.String()))),
  expiresAt: Type.Optional(Nullable(Instant)),
  metadata: Type.Optional(JsonObject),
  audience: Type.Optional(Nullable(Type.String())),
  ancestors: Type.Optional(
    Type.Array(Id, { description: 'The tokens that it comes from, the nearest first' }),
  ),
})

/** In the order of the questions. */
export const Answers = Type.Object({ answers: Type.Array(Answer) })

/** What is said of a live token. */
export function activeAnswer(principal: Principal) {
  const { token, user, ancestorIds, derivedFor } = principal
  return {
    active: true,
    tokenId: token.id,
    kind: token.kind,
    name: token.name ?? null,
    owner: { id: user.id, username: user.username },
    ...rightsOut(principal),
    expiresAt: instantOrNull(principal.derivedUntilMs ?? endOf(token)),
    metadata: token.metadata,
    audience: derivedFor ?? token.oauth?.audience ?? null,
    ...(ancestorIds === undefined ? {} : { ancestors: [...ancestorIds] }),
  }
}

/** A demand that says less than was meant must not be answered yes. Throws `invalid_input`. */
export function checkDemand({ group, mode, ip }: Omit<Static<typeof Question>, 'token'>): void {
  if (mode !== undefined && group === undefined) {
    throw new CoreError('invalid_input', 'mode says how deep into a group; name the group, too.')
  }
  if (ip !== undefined && isIP(ip) === 0) {
    throw new CoreError('invalid_input', `"${ip}" is not an IP address.`)
  }
}

export function mayHearWhy(core: Core, { principal }: Verdict, asker: Principal): boolean {
  return can(asker, 'verdict.reason', { what: principal?.token, policy: core.policy() })
}

/** Turns verdicts into answers. */
type Judge = (verdict: Verdict, asker: Principal) => LaneAnswer

/** Answers as bytes, because most questions are about tokens that were asked about before. */
function judge({ core, metrics }: Pick<ApiParts, 'core' | 'metrics'>): Judge {
  const kept = keptAnswers()
  const inactive = new Map<string, LaneAnswer>()
  const bareNo = laneAnswer(200, { active: false })

  const activeFor = (verdict: Yes): LaneAnswer =>
    kept.of(verdict) ?? kept.keep(verdict, laneAnswer(200, activeAnswer(verdict.principal)))
  const inactiveFor = (reason: string): LaneAnswer => {
    const known = inactive.get(reason) ?? laneAnswer(200, { active: false, reason })
    inactive.set(reason, known)
    return known
  }

  return (found, asker) => {
    const verdict: Verdict =
      found.active && isForTokenEndpoint(found.principal.token.kind)
        ? { active: false, reason: 'wrong_kind', principal: found.principal }
        : found
    metrics.countVerdict(verdict.active ? 'active' : verdict.reason)
    if (verdict.active) return activeFor(verdict)
    if (!mayHearWhy(core, verdict, asker)) return bareNo
    const { reason, retryAfterSeconds } = verdict
    return retryAfterSeconds === undefined
      ? inactiveFor(reason)
      : laneAnswer(200, { active: false, reason, retryAfterSeconds })
  }
}

/** Is this token good, and for this? The question that everything behind us asks on every request. */
export function verifyRoutes(app: Scope, { core, jwts, metrics }: ApiParts): void {
  const judged = judge({ core, metrics })
  const answerTo = async (
    { token, ...demand }: Static<typeof Question>,
    { asker, consistency }: { asker: Principal } & Static<typeof Consistency>,
  ) => {
    const strong = consistency === 'strong'
    return judged(await verdictOn(token, { core, jwts, demand: demand as Demand, strong }), asker)
  }

  app.post(
    '/tokens/verify',
    {
      config: { weight: 'light' },
      schema: {
        tags: ['tokens'],
        summary: 'Is this token active, and does it hold this role, scope or group mode?',
        description: 'Any active token may ask; nothing is changed, so READ_ONLY ones may, too.',
        querystring: Consistency,
        body: Question,
        response: { 200: Answer, ...problems },
      },
    },
    async (request, reply) => {
      checkDemand(request.body)
      const { json } = await answerTo(request.body, {
        asker: callerOf(request).principal,
        ...request.query,
      })
      return reply.header('content-type', JSON_TYPE).send(asSent<typeof Answer>(json))
    },
  )

  app.post(
    '/tokens/verify::batch',
    {
      config: { weight: 'light' },
      schema: {
        tags: ['tokens'],
        summary: 'The same about up to 100 tokens',
        description:
          'Each question is a secret, or a question as `verify` takes it. The answers come in the order of the questions, each as `verify` would give it. One question that is not valid refuses all.',
        querystring: Consistency,
        body: Questions,
        response: { 200: Answers, ...problems },
      },
    },
    async (request, reply) => {
      const questions = request.body.questions.map((question) =>
        typeof question === 'string' ? { token: question } : question,
      )
      for (const question of questions) checkDemand(question)
      const asker = callerOf(request).principal
      const { json } = joined(
        await Promise.all(questions.map((each) => answerTo(each, { asker, ...request.query }))),
      )
      return reply.header('content-type', JSON_TYPE).send(asSent<typeof Answers>(json))
    },
  )
}

const JSON_TYPE = 'application/json; charset=utf-8'

/** Fastify sends a string as it is; the type wants the object that it was made from. */
function asSent<Schema extends TSchema>(json: string): Static<Schema> {
  return json as unknown as Static<Schema>
}

const HEAD = '{"answers":['
const TAIL = ']}'

function joined(answers: readonly LaneAnswer[]): LaneAnswer {
  let json = HEAD
  let bytes = HEAD.length + TAIL.length + answers.length - 1
  for (const [i, answer] of answers.entries()) {
    json += i === 0 ? answer.json : `,${answer.json}`
    bytes += answer.bytes
  }
  return { status: 200, json: json + TAIL, bytes }
}

/** The same questions in front of the framework, as long as they are plain. */
export function verifyLanes({ core, metrics }: Pick<ApiParts, 'core' | 'metrics'>): LaneRoute[] {
  const judged = judge({ core, metrics })
  const answerTo = ({ token, demand }: PlainQuestion, asker: Principal) => {
    const verdict = core.verifier.verify(token, demand)
    return verdict instanceof Promise
      ? verdict.then((verdict) => judged(verdict, asker))
      : judged(verdict, asker)
  }
  const common = {
    body: 'json' as const,
    credentialHeader: 'authorization',
    via: 'api' as const,
    strangeHeaders: [],
    credential: bearerOf,
  }
  return [
    {
      ...common,
      path: '/api/v1/tokens/verify',
      pattern: '/api/v1/tokens/verify',
      question(query, body) {
        const asked = query === '' && body !== undefined ? plainQuestion(body) : undefined
        return asked === undefined ? undefined : (asker) => answerTo(asked, asker)
      },
    },
    {
      ...common,
      path: '/api/v1/tokens/verify:batch',
      // A colon of the path is written twice.
      pattern: '/api/v1/tokens/verify::batch',
      question(query, body) {
        const asked = query === '' && body !== undefined ? plainQuestions(body) : undefined
        return asked === undefined
          ? undefined
          : (asker) => allOf(asked.map((each) => answerTo(each, asker)))
      },
    },
  ]
}

function allOf(answers: (LaneAnswer | Promise<LaneAnswer>)[]): LaneAnswer | Promise<LaneAnswer> {
  const isKnown = (answer: LaneAnswer | Promise<LaneAnswer>) => !(answer instanceof Promise)
  if (answers.every(isKnown)) return joined(answers as LaneAnswer[])
  return Promise.all(answers).then(joined)
}

/** A question that `Question` and `checkDemand` take for sure, about a secret. */
interface PlainQuestion {
  token: string
  demand: Demand
}

/** Nothing but a secret that needs no unescaping, as most clients write it. */
const BARE_QUESTION = /^\{"token": ?"([A-Za-z0-9._~+/=-]{1,512})"\}$/

/** The members of a demand, with the length above which the ordinary route has to look. */
const PLAIN_DEMAND = new Map([
  ['role', 63],
  ['scope', 128],
  ['group', 150],
  ['mode', 5],
  ['ip', 64],
  ['userAgent', 512],
  ['audience', 2000],
  ['boundKey', 64],
])
const MODES = new Set<unknown>(Mode.enum)

function plainQuestion(body: Buffer): PlainQuestion | undefined {
  const bare = BARE_QUESTION.exec(body.toString('latin1'))?.[1]
  return bare === undefined ? plainMembers(parsedObject(body.toString())) : plainSecret(bare)
}

function plainQuestions(body: Buffer): PlainQuestion[] | undefined {
  const { questions, ...others } = parsedObject(body.toString()) ?? {}
  if (!Array.isArray(questions) || Object.keys(others).length > 0) return undefined
  if (questions.length === 0 || questions.length > MAX_QUESTIONS) return undefined
  const plain: PlainQuestion[] = []
  for (const each of questions) {
    const question = typeof each === 'string' ? plainSecret(each) : plainMembers(objectOf(each))
    if (question === undefined) return undefined
    plain.push(question)
  }
  return plain
}

/** Secrets have no need of more; what is longer is somebody else's to refuse. */
const MAX_SECRET_LENGTH = 512

function plainSecret(token: string): PlainQuestion | undefined {
  const isPlain = token !== '' && token.length <= MAX_SECRET_LENGTH && !looksLikeJwt(token)
  return isPlain ? { token, demand: NO_DEMAND } : undefined
}

function plainMembers(members: Record<string, unknown> | undefined): PlainQuestion | undefined {
  const { token, ...demand } = members ?? {}
  if (typeof token !== 'string' || plainSecret(token) === undefined) return undefined
  const named = Object.entries(demand)
  for (const [name, value] of named) {
    const maxLength = PLAIN_DEMAND.get(name)
    if (maxLength === undefined || typeof value !== 'string' || value.length > maxLength) {
      return undefined
    }
  }
  const { mode, group, ip } = demand
  if (mode !== undefined && (group === undefined || !MODES.has(mode))) return undefined
  if (ip !== undefined && isIP(String(ip)) === 0) return undefined
  return { token, demand: named.length === 0 ? NO_DEMAND : demand }
}

function objectOf(value: unknown): Record<string, unknown> | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject ? (value as Record<string, unknown>) : undefined
}

function parsedObject(json: string): Record<string, unknown> | undefined {
  try {
    return objectOf(JSON.parse(json))
  } catch {
    return undefined
  }
}
