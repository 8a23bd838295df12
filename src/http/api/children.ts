import { type Static, Type } from 'typebox'
import { CoreError } from '../../core/errors.ts'
import type { TokenId } from '../../core/id.ts'
import { MAX_SIGNED_SECONDS } from '../../core/tokens/sign.ts'
import type { Limits } from '../../core/tokens/token.ts'
import { callerOf } from '../auth.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import { instant, namesFor, parseInstant, tokenOut } from './format.ts'
import { doOnce, onceHeaders } from './once.ts'
import { Id, Instant, IssuedToken, problems, Token } from './schemas.ts'
import { groupLimits, NewToken } from './tokens.ts'

const tags = ['tokens']
const params = Type.Object({ id: Id })
const { accessLevel, roles, groups, scopes, allowedIps } = NewToken.properties
const Narrowing = { accessLevel, roles, groups, scopes, allowedIps }

export const NewChild = Type.Object(
  {
    name: Type.Optional(NewToken.properties.name),
    description: NewToken.properties.description,
    ...Narrowing,
    expiresAt: Type.Optional(Instant),
    metadata: NewToken.properties.metadata,
  },
  {
    additionalProperties: false,
    description: 'What is left out, or null, is what the parent has.',
  },
)

export const NewSignedToken = Type.Object(
  {
    audience: Type.String({
      maxLength: 500,
      description: 'The one service that it is for; nobody else takes it',
    }),
    ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_SIGNED_SECONDS })),
    ...Narrowing,
  },
  {
    additionalProperties: false,
    description: 'What is left out, or null, is what the token has.',
  },
)

export const SignedToken = Type.Object({
  jwt: Type.String({ description: 'Typed `mm+jwt`, signed with ES256' }),
  id: Type.String({ description: 'Its `jti`' }),
  audience: Type.String(),
  expiresAt: Instant,
})

export const Tree = Type.Object({
  ancestors: Type.Array(Token, { description: 'Where it all begins, first' }),
  token: Token,
  descendants: Type.Array(Token, { description: 'Parents before their children' }),
  more: Type.Boolean({ description: 'Whether there are more descendants than are shown' }),
})

/** Null is as good as nothing: both leave open what the parent has. */
async function limitsOf(
  names: Parameters<typeof groupLimits>[0],
  body: Static<typeof NewSignedToken> | Static<typeof NewChild>,
): Promise<Partial<Limits>> {
  const { accessLevel, roles, groups, scopes, allowedIps } = body
  return {
    ...(accessLevel === undefined ? {} : { accessLevel }),
    ...(roles == null ? {} : { roles }),
    ...(groups == null ? {} : { groups: await groupLimits(names, groups) }),
    ...(scopes == null ? {} : { scopes }),
    ...(allowedIps == null ? {} : { allowedIps }),
  }
}

/** What a token hands on of what it holds. */
export function childRoutes(app: Scope, { core, tokenJwts, metrics }: ApiParts): void {
  app.post(
    '/tokens/self/children',
    {
      schema: {
        tags,
        summary: 'Mint a narrower token with the one this request is made with, its parent',
        description:
          'The child is an api token of the same owner, within the parent’s limits and end, and dies with it. It takes no right to create tokens, only the policy tokensMayMintChildren. Its secret is shown this once.',
        headers: onceHeaders,
        body: NewChild,
        response: { 201: IssuedToken, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { name, description, expiresAt, metadata } = request.body
      const asked = ['child', request.body]
      const { token, secret } = await doOnce(core, { request, reply, asked }, async (w) => {
        const wish = {
          limits: await limitsOf((name) => w.findGroup({ caller, name }), request.body),
          ...(name === undefined ? {} : { name }),
          ...(description === undefined ? {} : { description }),
          ...(expiresAt === undefined ? {} : { expiresAtMs: parseInstant(expiresAt) }),
          ...(metadata === undefined ? {} : { metadata }),
        }
        const issued = await w.issueChild({ caller, wish, via: 'api' })
        return { token: issued.token, secret: issued.secret.reveal() }
      })
      const body = { ...tokenOut(token, await namesFor(core, [token])), secret }
      return reply.code(201).header('location', `/api/v1/tokens/${body.id}`).send(body)
    },
  )

  app.post(
    '/tokens/self/jwt',
    {
      config: { weight: 'light' },
      schema: {
        tags,
        summary: 'Sign what the token this request is made with may do, for minutes',
        description:
          'A JWT that a service checks by itself, with the keys at /.well-known/mintmark/jwks.json and the feed at /api/v1/revocations: it dies with the token, or any that the token comes from. Nothing is stored, so READ_ONLY tokens may, too.',
        body: NewSignedToken,
        response: { 200: SignedToken, ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { audience, ttlSeconds } = request.body
      const find = (name: string) => core.read.findGroup({ caller, name })
      const limits = await limitsOf(find, request.body)
      const rights = await core.sign(caller, {
        audience,
        limits,
        ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
      })
      const jwt = await tokenJwts.sign(rights)
      if (jwt === undefined) {
        throw new CoreError(
          'invalid_input',
          'That is more than fits into a header. Ask for fewer roles, groups or scopes.',
        )
      }
      metrics.signed.inc()
      return { jwt, id: rights.id, audience, expiresAt: instant(rights.expiresAtMs) }
    },
  )

  app.get(
    '/tokens/:id/tree',
    {
      schema: {
        tags,
        summary: 'A token, those it comes from, and those that come from it',
        params,
        response: { 200: Tree, ...problems },
      },
    },
    async (request) => {
      const tree = await core.read.tree(callerOf(request), request.params.id as TokenId)
      const { ancestors, token, descendants, more } = tree
      const names = await namesFor(core, [...ancestors, token, ...descendants])
      const out = (each: typeof token) => tokenOut(each, names)
      return {
        ancestors: ancestors.map(out),
        token: out(token),
        descendants: descendants.map(out),
        more,
      }
    },
  )
}
