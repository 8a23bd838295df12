import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { CoreError } from '../../core/errors.ts'
import { endOf } from '../../core/tokens/token.ts'
import type { Session } from '../../core/users/session.ts'
import { originOf } from '../../http/auth.ts'
import type { ApiParts } from '../../http/parts.ts'
import type { Scope } from '../../http/scope.ts'
import { publicDoor } from '../../http/server.ts'
import type { AccessTokens } from './access-token.ts'
import { allowedReturn } from './return-url.ts'
import { type SealedCookie, sealedCookie } from './sealed-cookie.ts'
import { tokenPairs } from './token-pair.ts'
import type { Challenge, Proof, Upstream } from './upstream.ts'
import {
  type CallbackQuery,
  CallbackQuery as CallbackQuerySchema,
  failures,
  LoginCredentials,
  LoginUrl,
  NoBody,
  Tokens,
} from './wire.ts'

export interface SignInParts extends Pick<ApiParts, 'core' | 'config'> {
  mint: AccessTokens
  upstream: Upstream
  cookieSession: SealedCookie
}

/** Where the provider sends the browser back to: the newer revision's callback, and the older one's. */
type Callback = 'authSso' | 'authGoogle'

/** A sign-in under way, as the browser's cookie keeps it. */
interface Pending extends Challenge {
  callback: Callback
  returnUrl?: string
}

const SIGN_IN_SECONDS = 600

/** Sign-in by browser, through the OpenID provider that the operator configured. */
export function signInRoutes(app: Scope, parts: SignInParts): void {
  const { core, config, upstream, cookieSession } = parts
  const pairOf = tokenPairs(parts)
  const pendingCookie = sealedCookie({
    core,
    publicUrl: config.publicUrl,
    name: 'mintmark-s7-sign-in',
  })
  const redirectUriOf = (callback: Callback) => `${config.publicUrl}/api/auth/v1/${callback}`

  /** Remembers a new sign-in in the browser and returns the address where it goes on. */
  async function begin(
    reply: FastifyReply,
    wish: { callback: Callback; returnUrl?: string },
  ): Promise<string> {
    const { url, challenge } = await upstream.begin(redirectUriOf(wish.callback))
    const pending: Pending = { ...challenge, ...wish }
    const expiresAtMs = core.clock.now() + SIGN_IN_SECONDS * 1000
    pendingCookie.write(reply, JSON.stringify(pending), expiresAtMs)
    return url
  }

  /** Takes the browser's sign-in, which serves once, and checks it against the provider's answer. */
  async function finish(
    request: FastifyRequest<{ Querystring: CallbackQuery }>,
    reply: FastifyReply,
    callback: Callback,
  ): Promise<{ session: Session; returnUrl: string | undefined }> {
    upstream.settings()
    const kept = pendingCookie.read(request)
    pendingCookie.clear(reply)
    // Sealed by us, so it is what `begin` wrote.
    const pending = kept === undefined ? undefined : (JSON.parse(kept) as Pending)
    const { code, state, iss } = request.query
    if (pending?.callback !== callback || code === undefined || state === undefined) {
      throw new CoreError('login_failed', 'There is no such sign-in under way. Start it again.')
    }
    const session = await signIn(request, {
      redirectUri: redirectUriOf(callback),
      code,
      issuer: iss,
      state: { sent: state, expected: pending.state },
      nonce: pending.nonce,
      verifier: pending.verifier,
    })
    return { session, returnUrl: pending.returnUrl }
  }

  async function signIn(request: FastifyRequest, proof: Proof): Promise<Session> {
    const identity = await upstream.finish(proof)
    return core.signInFromUpstream({ identity, origin: originOf(request, 's7') })
  }

  app.post(
    '/login',
    { ...publicDoor, schema: { body: LoginCredentials, response: { 200: Tokens, ...failures } } },
    async (request) => {
      const { code, codeVerifier: verifier, nonce, redirectUri } = request.body
      const own = [redirectUriOf('authSso'), redirectUriOf('authGoogle')]
      if (![...upstream.settings().redirectUris, ...own].includes(redirectUri)) {
        throw new CoreError(
          'invalid_input',
          'This redirectUri is not known here. An operator can add it to MINTMARK_UPSTREAM_REDIRECT_URIS.',
        )
      }
      // State was the client's to check, and the issuer is the only one there is.
      const proof = { redirectUri, code, verifier, nonce, issuer: undefined, state: undefined }
      return pairOf(await signIn(request, proof), request.ip)
    },
  )

  app.get(
    '/login',
    {
      ...publicDoor,
      schema: {
        querystring: Type.Object({ redirection: Type.Optional(Type.String({ maxLength: 1024 })) }),
        response: { 200: LoginUrl, ...failures },
      },
    },
    async (request, reply) => {
      const { redirection } = request.query
      if (redirection === undefined) return { url: await begin(reply, { callback: 'authSso' }) }
      const returnUrl = allowedReturn(redirection, upstream.settings().returnUrls)
      if (returnUrl === undefined) {
        throw new CoreError(
          'invalid_input',
          'This redirection is not allowed. An operator can add it to MINTMARK_UPSTREAM_RETURN_URLS.',
        )
      }
      return { url: await begin(reply, { callback: 'authSso', returnUrl }) }
    },
  )

  app.get(
    '/loginGoogle',
    { ...publicDoor, schema: { response: { 302: NoBody, ...failures } } },
    async (_, reply) => reply.redirect(await begin(reply, { callback: 'authGoogle' }), 302),
  )

  app.get(
    '/authGoogle',
    {
      ...publicDoor,
      schema: { querystring: CallbackQuerySchema, response: { 200: Tokens, ...failures } },
    },
    async (request, reply) => {
      const { session } = await finish(request, reply, 'authGoogle')
      return pairOf(session, request.ip)
    },
  )

  app.get(
    '/authSso',
    {
      ...publicDoor,
      schema: {
        querystring: CallbackQuerySchema,
        response: { 200: Tokens, 302: NoBody, ...failures },
      },
    },
    async (request, reply) => {
      const { session, returnUrl } = await finish(request, reply, 'authSso')
      if (returnUrl === undefined) return pairOf(session, request.ip)
      keepInCookie(reply, session)
      return reply.redirect(returnUrl, 302)
    },
  )

  /** Where scripts cannot read it; `/refresh` with `Bearer None` uses it. */
  function keepInCookie(reply: FastifyReply, { token, secret }: Session): void {
    const endMs = endOf(token) ?? core.clock.now()
    cookieSession.write(reply, secret.reveal(), endMs)
  }
}
