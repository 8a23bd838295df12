import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { decodeJwt } from 'jose'
import type Provider from 'oidc-provider'
import { errors, type InteractionResults } from 'oidc-provider'
import { parseDuration } from '../core/clients/duration.ts'
import type { Core } from '../core/core.ts'
import { CoreError } from '../core/errors.ts'
import type { GrantId, UserId } from '../core/id.ts'
import type { Principal } from '../core/rights.ts'
import { originOf, presentedBy } from '../http/auth.ts'
import { passwordDoor } from '../http/server.ts'
import { csrfFor, formOf, mustComeFromOurForm, sendPage } from './form.ts'
import type { LoginCookie } from './login-cookie.ts'
import { consentPage } from './pages/consent-page.ts'
import { type LoginField, type LoginModel, loginPage } from './pages/login-page.ts'
import { grantSeconds } from './provider.ts'
import { oauthRequests } from './request.ts'

export interface InteractionParts {
  core: Core
  publicUrl: string
  login: LoginCookie
  engine: () => Provider
}

type Details = Awaited<ReturnType<Provider['interactionDetails']>>

/** Reasons for which a login that is there is not enough. */
const MUST_PROVE_AGAIN = ['login_prompt', 'max_age', 'id_token_hint', 'claims_id_token_sub_value']

/** The forms between a client's request and its answer: who is it, and is the client allowed this? */
export function interactionRoutes(app: FastifyInstance, parts: InteractionParts): void {
  const { core, login, engine, publicUrl } = parts
  const url = '/oauth2/interaction/:uid'

  app.get(url, { config: { public: true } }, async (request, reply) => {
    const details = await detailsOf(request, reply)
    const known = await login.read(request.raw, request.ip)
    if (asksWho(details)) {
      if (known !== undefined && mayGoOn(details)) return finish(reply, details, loggedIn(known))
      return sendPage(
        reply,
        await loginStep(details, { step: 'sign_in', username: hintOf(details) }),
      )
    }
    if (known?.user.id !== details.session?.accountId || known === undefined) {
      return finish(reply, details, undefined)
    }
    return sendPage(reply, await consentStep(details, known))
  })

  app.post(url, passwordDoor, async (request, reply) => {
    const details = await detailsOf(request, reply)
    mustComeFromOurForm(request, { core, publicUrl, purpose: `interaction:${details.uid}` })
    return asksWho(details) ? signIn(request, reply, details) : decide(request, reply, details)
  })

  async function signIn(request: FastifyRequest, reply: FastifyReply, details: Details) {
    const form = formOf(request)
    if (form.get('action') === 'cancel')
      return finish(reply, details, refused('login was cancelled'))
    const outcome = await tryLogin(request, reply, parts)
    if (!('principal' in outcome)) return sendPage(reply, await loginStep(details, outcome))
    const result = (await isWhomWasMeant(details, outcome.principal))
      ? loggedIn(outcome.principal)
      : { error: 'login_required', error_description: 'another user signed in' }
    return finish(reply, details, result)
  }

  /** OpenID Connect Core, 3.1.2.1: with `id_token_hint` only that user gets an answer. */
  async function isWhomWasMeant(details: Details, { user }: Principal): Promise<boolean> {
    const hint = details.params.id_token_hint
    // The engine has checked that we signed it.
    if (typeof hint !== 'string') return true
    return decodeJwt(hint).sub === core.oauth.subjectOf(user, await clientOf(details))
  }

  async function decide(request: FastifyRequest, reply: FastifyReply, details: Details) {
    const known = await login.read(request.raw, request.ip)
    const decision = formOf(request).get('decision')
    if (decision === 'switch') {
      if (known !== undefined) {
        await core.oauth.endLogin({ principal: known, origin: originOf(request, 'oauth') })
      }
      reply.header('set-cookie', login.header(undefined))
      return finish(reply, details, undefined)
    }
    if (decision !== 'allow') return finish(reply, details, refused('the user refused'))
    if (known === undefined || known.user.id !== details.session?.accountId) {
      return finish(reply, details, undefined)
    }
    const context = {
      origin: originOf(request, 'oauth'),
      login: async () => known,
      // This answer is ours, and waits where those do.
      isKnown: async () => undefined,
    }
    const grantId = await oauthRequests.run(context, () => give(details, known))
    return finish(reply, details, { consent: { grantId } })
  }

  /** Saves what the user allows: of what is asked for, what the user holds. The rest counts as refused. */
  async function give(details: Details, { user }: Principal): Promise<string> {
    const { Grant } = engine()
    const client = await clientOf(details)
    const known = details.grantId === undefined ? undefined : await Grant.find(details.grantId)
    const grant =
      known ??
      new Grant({
        accountId: user.id,
        clientId: client.clientId,
        expiresIn: grantSeconds({
          refreshTokenTtl: parseDuration(client.refreshTokenTtl),
          accessTokenTtl: parseDuration(client.accessTokenTtl),
        }),
      } as ConstructorParameters<typeof Grant>[0])
    const asked = askedFor(details)
    const held = await core.oauth.heldScopes({
      ownerId: user.id,
      client,
      scopes: [...asked.scopes, ...Object.values(asked.resources).flat()],
    })
    const isHeld = (scope: string) => held.includes(scope)
    const some = (scopes: string[]) => (scopes.length > 0 ? scopes : undefined)
    const refusedScopes = some(asked.scopes.filter((scope) => !isHeld(scope)))
    grant.addOIDCScope(asked.scopes.filter(isHeld).join(' '))
    if (refusedScopes !== undefined) grant.rejectOIDCScope(refusedScopes.join(' '))
    if (asked.claims.length > 0) grant.addOIDCClaims(asked.claims)
    for (const [resource, scopes] of Object.entries(asked.resources)) {
      grant.addResourceScope(resource, scopes.filter(isHeld).join(' '))
      const refusedHere = some(scopes.filter((scope) => !isHeld(scope)))
      if (refusedHere !== undefined) grant.rejectResourceScope(resource, refusedHere.join(' '))
    }
    return grant.save()
  }

  async function detailsOf(request: FastifyRequest, reply: FastifyReply): Promise<Details> {
    try {
      const details = await engine().interactionDetails(request.raw, reply.raw)
      const { uid } = request.params as { uid: string }
      if (details.uid === uid) return details
    } catch (error) {
      if (!(error instanceof errors.SessionNotFound)) throw error
    }
    throw new CoreError(
      'not_found',
      'This sign-in is over, or was begun in another browser. Go back to the application and start again.',
    )
  }

  async function finish(
    reply: FastifyReply,
    details: Details,
    result: InteractionResults | undefined,
  ): Promise<FastifyReply> {
    // No result: the engine looks again who is there.
    details.result =
      result === undefined || 'error' in result
        ? (result ?? {})
        : { ...details.lastSubmission, ...result }
    await details.persist()
    return reply.redirect(details.returnTo, 303)
  }

  async function clientOf({ params }: Details) {
    const client = await core.clients.byClientId(String(params.client_id))
    if (client?.active) return client
    throw new CoreError('not_found', 'The application is not registered here any more.')
  }

  async function loginStep(
    details: Details,
    model: Pick<LoginModel, 'step'> & Partial<LoginModel>,
  ) {
    const client = await clientOf(details)
    return loginPage({
      ...model,
      action: `/oauth2/interaction/${details.uid}`,
      csrf: csrfFor(core, `interaction:${details.uid}`),
      clientName: client.name,
      leadsTo: leadsTo(details),
    })
  }

  async function consentStep(details: Details, { user }: Principal) {
    const client = await clientOf(details)
    const asked = askedFor(details)
    const known =
      details.grantId === undefined
        ? undefined
        : (await core.oauth.findGrant(details.grantId as GrantId))?.grant
    const scopes = await core.oauth.heldScopes({
      ownerId: user.id as UserId,
      client,
      scopes: [...asked.scopes, ...Object.values(asked.resources).flat()],
    })
    const isNew = scopes.length > 0 || known === undefined
    const allowed = { scopes: known?.scopes ?? [], resources: known?.resources ?? [] }
    const accessTtlSeconds = parseDuration(client.accessTokenTtl)
    const refreshes = client.grants.includes('refresh_token')
    return consentPage({
      action: `/oauth2/interaction/${details.uid}`,
      csrf: csrfFor(core, `interaction:${details.uid}`),
      client,
      redirectUri: redirectUriOf(details),
      username: user.username,
      // Asked again without anything new, the user sees again what it is about.
      scopes: isNew ? scopes : allowed.scopes,
      resources: isNew
        ? Object.keys(asked.resources).filter((each) => !allowed.resources.includes(each))
        : allowed.resources,
      allowed: isNew ? allowed : { scopes: [], resources: [] },
      accessTtlSeconds,
      offlineTtlSeconds: refreshes ? parseDuration(client.refreshTokenTtl) : undefined,
    })
  }
}

/** What the engine found missing in what was allowed so far. */
function askedFor({ prompt }: Details): {
  scopes: string[]
  claims: string[]
  resources: Record<string, string[]>
} {
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details as {
    missingOIDCScope?: string[]
    missingOIDCClaims?: string[]
    missingResourceScopes?: Record<string, string[]>
  }
  return {
    scopes: missingOIDCScope ?? [],
    claims: missingOIDCClaims ?? [],
    resources: missingResourceScopes ?? {},
  }
}

/** Whether the question is who it is; otherwise it is what the client may do. */
function asksWho({ prompt }: Details): boolean {
  return prompt.name === 'login' || prompt.name === 'select_account'
}

function mayGoOn({ prompt }: Details): boolean {
  return (
    prompt.name === 'login' && !prompt.reasons.some((reason) => MUST_PROVE_AGAIN.includes(reason))
  )
}

function hintOf({ params }: Details): string | undefined {
  return typeof params.login_hint === 'string' ? params.login_hint.slice(0, 254) : undefined
}

function redirectUriOf({ params, deviceCode }: Details): string | undefined {
  const uri = params.redirect_uri
  return deviceCode === undefined && typeof uri === 'string' ? uri : undefined
}

function leadsTo(details: Details): string[] {
  const uri = redirectUriOf(details)
  return uri === undefined ? [] : [uri]
}

function loggedIn({ user, token }: Principal): InteractionResults {
  return {
    login: {
      accountId: user.id,
      ts: Math.floor(token.createdAtMs / 1000),
      amr: ['pwd'],
      remember: false,
    },
    select_account: {},
  }
}

function refused(description: string): InteractionResults {
  return { error: 'access_denied', error_description: description }
}

type LoginOutcome =
  | { principal: Principal }
  | (Pick<LoginModel, 'step'> & Pick<LoginModel, 'username' | 'error' | 'wrongField' | 'status'>)

/** Tries the name and password of the posted form; on success the browser gets the new login's cookie. */
export async function tryLogin(
  request: FastifyRequest,
  reply: FastifyReply,
  { core, login }: Pick<InteractionParts, 'core' | 'login'>,
): Promise<LoginOutcome> {
  const form = formOf(request)
  const username = form.get('username') ?? ''
  const newPassword = form.get('new_password')
  const step = newPassword === undefined ? 'sign_in' : 'new_password'
  const problem = (error: string, wrongField?: LoginField): LoginOutcome => ({
    step,
    username,
    error,
    wrongField,
  })
  if (newPassword !== undefined && newPassword !== form.get('new_password_again')) {
    return problem('The two new passwords differ.', 'new_password_again')
  }
  const origin = originOf(request, 'oauth')
  try {
    const earlier = await login.read(request.raw, request.ip)
    const session = await core.login({
      name: username,
      password: form.get('password') ?? '',
      origin,
      via: 'oauth',
      ...(newPassword === undefined ? {} : { newPassword }),
    })
    reply.header('set-cookie', login.header(session.secret))
    // Somebody else at this browser: the earlier login is over.
    if (earlier !== undefined && earlier.user.id !== session.user.id) {
      await core.oauth.endLogin({ principal: earlier, origin })
    }
    const verdict = await core.verifier.verify(
      session.secret.reveal(),
      presentedBy(request, 'oauth'),
    )
    if (!verdict.active) throw new CoreError('login_failed', 'The login has ended already.')
    return { principal: verdict.principal }
  } catch (error) {
    if (!(error instanceof CoreError)) throw error
    if (error.code === 'login_failed') return problem(error.message)
    if (error.code === 'password_change_required') {
      return { step: 'new_password', username, status: 200 }
    }
    if (error.code === 'too_many_requests') {
      reply.header('retry-after', String(error.retryAfterSeconds ?? 60))
      return { ...problem(error.message), status: 429 }
    }
    if (error.code === 'invalid_input') return problem(error.message, 'new_password')
    throw error
  }
}
