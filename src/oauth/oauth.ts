import type { FastifyInstance } from 'fastify'
import type { ClientId } from '../core/id.ts'
import { ANY, type Change } from '../core/store.ts'
import { answerErrors } from '../http/errors.ts'
import type { ApiParts } from '../http/parts.ts'
import { accountRoutes } from './account.ts'
import { oauthErrors } from './errors.ts'
import { readForms, sendErrorPage } from './form.ts'
import { interactionRoutes } from './interactions.ts'
import { introspectionRoute } from './introspect.ts'
import { loginCookie } from './login-cookie.ts'
import { endLogins } from './logout.ts'
import { mountEngine } from './mount.ts'
import { postedRequests } from './posted-requests.ts'
import { createProvider } from './provider.ts'
import { revocationRoute } from './revoke.ts'
import { selfTest } from './self-test.ts'

/**
 * OAuth2 and OpenID Connect: the certified engine over our users, tokens and keys, and around it what
 * is ours: login, consent, introspection, revocation.
 * Throws when the engine's storage does not keep its promises.
 */
export async function registerOauth(app: FastifyInstance, parts: ApiParts): Promise<void> {
  const { core, config } = parts
  const issuer = config.publicUrl
  const login = loginCookie(app, { core, publicUrl: issuer })
  await selfTest(core)

  const scopes = await core.oauth.scopes()
  const build = () => {
    const provider = createProvider(parts, {
      issuer,
      graceSeconds: config.refreshGraceSeconds,
      scopes,
      sessionSeconds: core.policy().sessionTtlSeconds,
      log: app.log,
    })
    provider.use(endLogins(core, login) as never)
    return { provider, handle: provider.callback() }
  }

  let current = build()
  // Keys, scopes and lifetimes are fixed when an engine is built; all else it looks up.
  core.onChange(async (changes) => {
    if (await isOutdated(changes)) current = build()
  })

  async function isOutdated(changes: readonly Change[]): Promise<boolean> {
    const isAbout = (subject: Change['subject']) => changes.some((each) => each.subject === subject)
    // Listeners are told at the same time, so the keyring may not have looked yet.
    if (isAbout('key')) await core.keyring.reload()
    let isOld = isAbout('key') || isAbout('policy')
    for (const { subject, id } of changes) {
      if (subject !== 'client') continue
      // Scopes that no client asks for any more do no harm; a new one must be known.
      for (const scope of await scopesOf(id)) {
        isOld ||= !scopes.has(scope)
        scopes.add(scope)
      }
    }
    return isOld
  }

  const scopesOf = async (id: string) =>
    id === ANY
      ? await core.oauth.scopes()
      : ((await core.clients.byId(id as ClientId))?.scopes ?? [])

  const engine = () => current.provider

  await app.register(async (scope) => {
    answerErrors(scope, oauthErrors)
    mountEngine(scope, { core, config, issuer, login, handle: () => current.handle })
  })
  await app.register(async (scope) => {
    answerErrors(scope, oauthErrors)
    readForms(scope)
    introspectionRoute(scope, { ...parts, issuer })
    revocationRoute(scope, { ...parts, issuer })
  })
  await app.register(async (scope) => {
    scope.setErrorHandler(sendErrorPage)
    readForms(scope)
    postedRequests(scope, issuer)
    interactionRoutes(scope, { core, publicUrl: issuer, login, engine })
    accountRoutes(scope, { core, publicUrl: issuer, login, engine })
  })
}
