import { type Static, Type } from 'typebox'
import { CoreError } from '../../core/errors.ts'
import type { TokenId } from '../../core/id.ts'
import type { Principal } from '../../core/rights.ts'
import type { Explained } from '../../core/tokens/explain.ts'
import type { OutsideDemand } from '../../core/tokens/explain-steps.ts'
import { EXPLAINED_CHECKS, type Explanation as Found } from '../../core/tokens/explanation.ts'
import type { Presented } from '../../core/tokens/presented.ts'
import { type AccessJwts, looksLikeJwt } from '../access-jwt.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instant, instantOrNull, namesFor, tokenOut } from './format.ts'
import { OAuthGrant } from './grants.ts'
import { Id, Instant, problems, Token } from './schemas.ts'
import { Me, rightsOut } from './session.ts'
import { Answer, activeAnswer, checkDemand, mayHearWhy, Question } from './verify.ts'

/** As verify takes it, or with an id in place of the secret. */
export const ExplainQuestion = Type.Object(
  {
    ...Question.properties,
    token: Type.Optional(Question.properties.token),
    tokenId: Type.Optional({
      ...Id,
      description: 'Instead of the secret, for those who may read the token',
    }),
  },
  { additionalProperties: false },
)

const { id, scopes, resources, createdAt, expiresAt, revokedAt } = OAuthGrant.properties

export const Explanation = Type.Object(
  {
    checks: Type.Array(
      Type.Object({
        check: Type.Enum([...EXPLAINED_CHECKS]),
        outcome: Type.Enum(['passed', 'failed', 'skipped']),
        detail: Type.String({ description: 'What was found, and what to do about it' }),
      }),
      { description: 'In the order of verify, whose reason is the first that failed' },
    ),
    token: Nullable(Token),
    rights: Nullable(Me.properties.rights),
    lost: Type.Array(
      Type.Object({
        what: Type.Enum(['role', 'scope', 'group']),
        name: Type.String(),
        detail: Type.String(),
      }),
      { description: 'What the token allows and its owner may not do now' },
    ),
    end: Nullable(
      Type.Object({
        at: Nullable(Instant),
        because: Nullable(
          Type.Enum(['revoked', 'superseded', 'expiry', 'idle', 'policy', 'access_token'], {
            description:
              'policy: its longest lifetime, or the time that a token may stand idle; access_token: what was presented ends before the token that it stands for',
          }),
        ),
      }),
    ),
    grant: Nullable(Type.Object({ id, scopes, resources, createdAt, expiresAt, revokedAt })),
  },
  { description: 'Only for admins and the owner of the token' },
)

/** What verify answers, and why. */
export const ExplainAnswer = Type.Object({
  ...Answer.properties,
  explanation: Type.Optional(Explanation),
})

/** Why is this token good, or not? For people; services ask verify. */
export function explainRoutes(app: Scope, { core, jwts }: ApiParts): void {
  async function explanationOut(found: Found) {
    const { token, rights, end, grant } = found
    return {
      checks: found.checks,
      token: token === undefined ? null : tokenOut(token, await namesFor(core, [token])),
      rights: rights === undefined ? null : rightsOut({ rights }),
      lost: found.lost,
      end: end === undefined ? null : { at: instantOrNull(end.atMs), because: end.because ?? null },
      grant: grant === undefined ? null : grantOut(grant),
    }
  }

  async function answerTo(asker: Principal, { verdict, explanation }: Explained) {
    const hearsWhy = explanation !== undefined || mayHearWhy(core, verdict, asker)
    const answer = verdict.active
      ? activeAnswer(verdict.principal)
      : { active: false, ...(hearsWhy ? whyNot(verdict) : {}) }
    if (explanation === undefined) return answer
    return { ...answer, explanation: await explanationOut(explanation) }
  }

  app.post(
    '/tokens/explain',
    {
      config: { weight: 'heavy' },
      schema: {
        tags: ['tokens'],
        summary: 'Why is this token good or not, check by check, and what could it do?',
        description:
          'Takes what `verify` takes, or `tokenId` instead of the secret, and answers what `verify` would answer. Admins and the owner of the token are also told the outcome of every check and what the token could do. Counts no use; nothing is changed, so READ_ONLY tokens may ask, too.',
        body: ExplainQuestion,
        response: { 200: ExplainAnswer, ...problems },
      },
    },
    async (request) => {
      const { token: _, tokenId: __, ...demand } = request.body
      checkDemand(demand)
      const caller = callerOf(request)
      const presented = await presentedAs(request.body, jwts)
      const explained = await core.explain(caller, { presented, demand: demand as OutsideDemand })
      return answerTo(caller.principal, explained)
    },
  )
}

/** Throws `invalid_input` unless exactly one of the two is named. */
async function presentedAs(
  { token, tokenId }: Static<typeof ExplainQuestion>,
  jwts: AccessJwts,
): Promise<Presented> {
  if (token !== undefined && tokenId === undefined) {
    return looksLikeJwt(token) ? { signed: await jwts.read(token) } : { secret: token }
  }
  if (token === undefined && tokenId !== undefined) return { id: tokenId as TokenId }
  throw new CoreError('invalid_input', 'Send either the secret as token, or its id as tokenId.')
}

function whyNot({ reason, retryAfterSeconds }: Extract<Explained['verdict'], { active: false }>) {
  return { reason, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) }
}

function grantOut(grant: NonNullable<Found['grant']>) {
  return {
    id: grant.id,
    scopes: [...grant.scopes],
    resources: [...grant.resources],
    createdAt: instant(grant.createdAtMs),
    expiresAt: instant(grant.expiresAtMs),
    revokedAt: instantOrNull(grant.revokedAtMs),
  }
}
