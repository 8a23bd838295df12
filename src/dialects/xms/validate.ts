import type { Static } from 'typebox'
import type { Token } from '../../core/tokens/token.ts'
import type { Demand, Verdict, Yes } from '../../core/tokens/verdict.ts'
import { keptAnswers } from '../../http/kept-answers.ts'
import { type LaneAnswer, type LaneRoute, laneAnswer } from '../../http/lane.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { accessTokenOut, SHOWN_KIND } from './map.ts'
import { AccessTokenResp, failures, ValidateQuery } from './wire.ts'

const DEMAND: Demand = { kinds: [SHOWN_KIND], via: 'validate' }

/** Which check failed is nobody's business here. */
const REFUSAL = laneAnswer(403, {
  code: 'AccessTokenInvalid',
  message: 'The subject access token is not valid.',
  details: '',
})

type Judge = (verdict: Verdict) => LaneAnswer | Promise<LaneAnswer>

function judge({ core, metrics }: Pick<ApiParts, 'core' | 'metrics'>): Judge {
  const kept = keptAnswers()
  return (verdict) => {
    metrics.countVerdict(verdict.active ? 'active' : verdict.reason)
    if (!verdict.active) return REFUSAL
    const known = kept.of(verdict)
    if (known !== undefined) return known
    const { token } = verdict.principal
    if (token.serial !== undefined) return answerOn(verdict, token)
    // While it is being rotated, its number is its successor's already.
    return core.read
      .serialOfLineage(token)
      .then((serial) => answerOn(verdict, { ...token, serial }))
  }

  function answerOn(verdict: Yes, token: Token): LaneAnswer {
    const shown = accessTokenOut(token, verdict.principal.user)
    return kept.keep(verdict, laneAnswer(200, { access_token: { ...shown, used: true } }))
  }
}

/** Is this access token good? What services behind XMS ask on each of their requests. */
export function validateRoute(app: Scope, { core, metrics }: ApiParts): void {
  const judged = judge({ core, metrics })
  app.post(
    '/access-tokens::validate',
    {
      config: { weight: 'light' },
      schema: { querystring: ValidateQuery, response: { 200: AccessTokenResp, ...failures } },
    },
    async (request, reply) => {
      const subject = request.query.subject_access_token
      const { status, json } = await judged(await core.verifier.verify(subject, DEMAND))
      // Fastify sends a string as it is; the type wants the object that it was made from.
      const body = json as unknown as Static<typeof AccessTokenResp>
      reply.header('content-type', 'application/json; charset=utf-8')
      return reply.code(status as 200).send(body)
    },
  )
}

/** Nothing that needs decoding. */
const PLAIN_SECRET = /^[A-Za-z0-9._~/-]{1,300}$/
const SUBJECT = '?subject_access_token='
/** The official Go client repeats its credential behind the question. */
const REPEATED = '&token='

/** The subject, and the credential where it is repeated; undefined: any other query. */
function plainQuery(query: string): { subject: string; repeated: string | undefined } | undefined {
  if (!query.startsWith(SUBJECT)) return undefined
  const end = query.indexOf(REPEATED)
  const subject = query.slice(SUBJECT.length, end < 0 ? undefined : end)
  if (!PLAIN_SECRET.test(subject)) return undefined
  return { subject, repeated: end < 0 ? undefined : query.slice(end + REPEATED.length) }
}

/** The same question in front of the framework, as long as it is plain. */
export function validateLane(parts: Pick<ApiParts, 'core' | 'metrics' | 'config'>): LaneRoute {
  const { core, metrics, config } = parts
  const judged = judge({ core, metrics })
  return {
    path: '/v1/access-tokens:validate',
    // A colon of the path is written twice.
    pattern: '/v1/access-tokens::validate',
    body: undefined,
    credentialHeader: 'xms-auth-token',
    via: 'xms',
    // Where xmsCredential looks, too.
    strangeHeaders: ['authorization', 'cookie'],
    credential(header, query) {
      const asked = plainQuery(query)
      if (asked === undefined || !PLAIN_SECRET.test(header)) return undefined
      const { repeated } = asked
      if (repeated === undefined) return header
      return config.xmsQueryToken && repeated === header ? header : undefined
    },
    question(query) {
      const asked = plainQuery(query)
      if (asked === undefined) return undefined
      return () => {
        const verdict = core.verifier.verify(asked.subject, DEMAND)
        return verdict instanceof Promise ? verdict.then(judged) : judged(verdict)
      }
    },
  }
}
