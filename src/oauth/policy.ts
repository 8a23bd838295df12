import type Provider from 'oidc-provider'
import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider'
import type { Core } from '../core/core.ts'
import type { GrantId, UserId } from '../core/id.ts'
import { currentRequest } from './request.ts'

const { Check, Prompt, base } = interactionPolicy

/** When a browser must log in or ask its user: the engine's rules, and that the login is still ours. */
export function interactionRules() {
  const rules = base()
  rules.get('login')?.checks.add(new Check('still_registered', '', mustStillBeRegistered), 0)
  // Asked for by name alone: somebody wants to come in as another user.
  rules.add(new Prompt({ name: 'select_account', requestable: true }), 0)
  rules
    .get('login')
    ?.checks.add(
      new Check(
        'login_ended',
        'the login has ended',
        'login_required',
        async ({ oidc }) => (await currentRequest().login())?.user.id !== oidc.session?.accountId,
      ),
    )
  return rules
}

/**
 * What the engine looks at when a request begins may have changed by the time it is answered: an
 * administrator takes out a redirect URI because it is in wrong hands. Throws, rather than asking.
 */
function mustStillBeRegistered({ oidc }: KoaContextWithOIDC): boolean {
  const { client, params } = oidc
  const { redirect_uri, response_type } = (params ?? {}) as Record<string, unknown>
  if (typeof redirect_uri === 'string' && client?.redirectUriAllowed(redirect_uri) === false) {
    throw new errors.InvalidRedirectUri()
  }
  if (response_type === 'code' && client?.grantTypeAllowed('authorization_code') === false) {
    throw new errors.UnauthorizedClient('the client is not registered for authorization codes')
  }
  if (oidc.requestParamScopes.size === 0) {
    throw new errors.InvalidScope('name at least one scope', '')
  }
  return Check.NO_NEED_TO_PROMPT
}

/**
 * The grant under which a request goes on without asking: the one just given, that of this login, or,
 * for clients that can prove who they are, an earlier one that covers all that is asked for now.
 */
export function grantFinder(provider: () => Provider, core: Core) {
  return async ({ oidc }: KoaContextWithOIDC) => {
    const { session, client, result } = oidc
    if (session?.accountId === undefined || client === undefined) return undefined
    const { Grant } = provider()
    const id = result?.consent?.grantId ?? session.grantIdFor(client.clientId)
    const known = id === undefined ? undefined : await Grant.find(id)
    const isOfBoth = known?.accountId === session.accountId && known.clientId === client.clientId
    if (known !== undefined && isOfBoth && (await isOfThisLogin(core, known.jti))) {
      // Tokens that come of it now must not outlive it.
      delete (known as { exp?: number }).exp
      await known.save()
      return known
    }
    if (client.clientAuthMethod === 'none') return undefined

    const ours = await core.clients.byClientId(client.clientId)
    const resources = Object.keys(oidc.resourceServers ?? {})
    const remembered =
      ours === undefined
        ? undefined
        : await core.oauth.rememberedGrant({
            userId: session.accountId as UserId,
            clientId: ours.id,
            scopes: [...oidc.requestParamScopes],
            resources,
          })
    const earlier =
      remembered === undefined ? undefined : await Grant.find(remembered.id as GrantId)
    if (earlier === undefined) return undefined
    // A grant of its own for this login, so that ending one login leaves the others alone.
    const grant = new Grant({ accountId: session.accountId, clientId: client.clientId })
    grant.addOIDCScope(earlier.getOIDCScopeFiltered(oidc.requestParamOIDCScopes))
    for (const resource of resources) {
      grant.addResourceScope(
        resource,
        earlier.getResourceScopeFiltered(resource, oidc.requestParamScopes),
      )
    }
    await grant.save()
    return grant
  }
}

/** A grant of an earlier login dies with that one. */
async function isOfThisLogin(core: Core, id: string): Promise<boolean> {
  const [found, login] = await Promise.all([
    core.oauth.findGrant(id as GrantId),
    currentRequest().login(),
  ])
  return found !== undefined && found.grant.sessionId === login?.token.id
}
