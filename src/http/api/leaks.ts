import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { can } from '../../core/access.ts'
import { CoreError } from '../../core/errors.ts'
import { githubHash, isSignedByGithub } from '../../core/leaks/github.ts'
import type { FoundSecret } from '../../core/leaks/report.ts'
import { LEAK_ACTIONS } from '../../core/policy/policy.ts'
import { type AccessJwts, looksLikeJwt } from '../access-jwt.ts'
import { callerOf, originOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { Id, problems } from './schemas.ts'

const tags = ['leaks']
const MAX_SECRETS = 100
/** GitHub sends what one push brought in one message. */
const MAX_GITHUB_BYTES = 1_048_576
const MAX_GITHUB_SECRETS = 1000

declare module 'fastify' {
  interface FastifyRequest {
    /** The bytes that a signature is about. */
    signedBytes: Buffer | undefined
  }
}

const Found = Type.String({ minLength: 1, maxLength: 15_000 })

export const LeakReport = Type.Object(
  {
    secrets: Type.Array(Found, { minItems: 1, maxItems: MAX_SECRETS }),
    source: Type.Optional(
      Type.String({ maxLength: 500, description: 'What found them, or where; default: report' }),
    ),
    url: Type.Optional(Type.String({ maxLength: 2000, description: 'Where they can be seen' })),
  },
  { additionalProperties: false },
)

export const LeakReceipt = Type.Object({
  received: Type.Integer(),
  outcomes: Type.Optional(
    Type.Array(
      Type.Object({
        tokenId: Nullable(Id),
        action: Type.Enum([...LEAK_ACTIONS, 'none'], {
          description: 'none: no token, or one that is over, or stopped or reported already',
        }),
      }),
      { description: 'In the order of the secrets; for admins alone' },
    ),
  ),
})

const GithubMatches = Type.Array(
  Type.Object({
    token: Found,
    type: Type.String({ maxLength: 200 }),
    url: Type.Optional(Nullable(Type.String({ maxLength: 2000 }))),
    source: Type.Optional(Nullable(Type.String({ maxLength: 200 }))),
  }),
  { minItems: 1, maxItems: MAX_GITHUB_SECRETS },
)

const GithubFeedback = Type.Array(
  Type.Object({
    token_hash: Type.String({ description: 'SHA-256 of the token, hexadecimal' }),
    token_type: Type.String(),
    label: Type.Enum(['true_positive', 'false_positive']),
  }),
)

/** What a found text means: a secret, or the token that a good access token stands for. */
async function foundSecret(text: string, jwts: AccessJwts): Promise<FoundSecret['secret']> {
  if (!looksLikeJwt(text)) return text
  const source = await jwts.sourceOf(text)
  return source === undefined ? text : { tokenId: source.id }
}

export function leakRoutes(app: Scope, { core, jwts, config }: ApiParts): void {
  app.post(
    '/leaks',
    {
      config: { rateLimit: {}, weight: 'vital' },
      schema: {
        tags,
        summary: 'Report secrets that were seen where they should not be',
        description:
          'For admins and holders of the role `leak-reporter`. Their tokens are dealt with as the policy’s `leakAction` says. Only admins hear what came of it; everybody else gets the same answer whatever was sent.',
        body: LeakReport,
        response: { 200: LeakReceipt, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { secrets, source = 'report', url = '' } = request.body
      const found: FoundSecret[] = []
      for (const text of new Set(secrets)) {
        found.push({ secret: await foundSecret(text, jwts), source, url })
      }
      const texts = [...new Set(secrets)]
      const outcomes = await core.reportLeaks({ caller, found })
      const receipt = { received: secrets.length }
      const everything = { what: { ownerId: undefined }, policy: core.policy() }
      if (!can(caller.principal, 'token.list', everything)) return receipt
      return {
        ...receipt,
        outcomes: secrets.map((text) => {
          const outcome = outcomes[texts.indexOf(text)]
          return { tokenId: outcome?.tokenId ?? null, action: outcome?.action ?? 'none' }
        }),
      }
    },
  )

  app.register(async (scope) => {
    githubRoute(scope as Scope, { core, jwts, config })
  })
}

/** The receiving end of GitHub's secret scanning partner program. */
function githubRoute(
  app: Scope,
  { core, jwts, config }: Pick<ApiParts, 'core' | 'jwts' | 'config'>,
) {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.decorateRequest('signedBytes', undefined)
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit: MAX_GITHUB_BYTES },
    (request, body, done) => {
      // `parseAs` says that it is one.
      request.signedBytes = body as Buffer
      if (body.length === 0) done(null, undefined)
      else void parse(request, body.toString(), done)
    },
  )

  app.post(
    '/leaks/github',
    {
      config: { public: true, rateLimit: {}, weight: 'vital' },
      bodyLimit: MAX_GITHUB_BYTES,
      // Before anything is said about what was sent.
      preValidation: async (request) => mustBeFromGithub(request, config),
      schema: {
        tags,
        security: [],
        summary: 'Report secrets that GitHub’s secret scanning found',
        description:
          'Takes no credential but the signature of GitHub, in the headers Github-Public-Key-Identifier and Github-Public-Key-Signature, checked with the keys in MINTMARK_GITHUB_KEYS. Answers in the shape of the partner program.',
        body: GithubMatches,
        response: { 200: GithubFeedback, ...problems },
      },
    },
    async (request) => {
      const matches = request.body
      const found: FoundSecret[] = []
      for (const { token, source, url } of matches) {
        const secret = await foundSecret(token, jwts)
        found.push({ secret, source: `github ${source ?? 'unknown'}`, url: url ?? '' })
      }
      const actor = { origin: originOf(request, 'api') }
      const outcomes = await core.reportSignedLeaks({ actor, found })
      return matches.map(({ token, type }, i) => ({
        token_hash: githubHash(token),
        token_type: type,
        label:
          outcomes[i]?.tokenId === undefined
            ? ('false_positive' as const)
            : ('true_positive' as const),
      }))
    },
  )
}

function mustBeFromGithub(request: FastifyRequest, { githubKeys }: ApiParts['config']): void {
  const header = (name: string) => {
    const value = request.headers[name]
    return typeof value === 'string' ? value : undefined
  }
  const isGenuine =
    githubKeys !== undefined &&
    isSignedByGithub(request.signedBytes ?? Buffer.alloc(0), {
      keys: githubKeys,
      keyId: header('github-public-key-identifier'),
      signature: header('github-public-key-signature'),
    })
  if (isGenuine) return
  throw new CoreError(
    'unauthenticated',
    'This is not signed by GitHub with a key that this server knows. MINTMARK_GITHUB_KEYS names them.',
  )
}
