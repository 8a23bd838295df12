import type Provider from 'oidc-provider'
import { interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider'
import type { Core } from '../core/core.ts'
import type { GrantId, UserId } from '../core/id.ts'
import { currentRequest } from './request.ts'

const { Check, base } = interactionPolicy

/** When a browser must log in or ask its user: the engine's rules, and that the login is still ours. */
export function interactionRules() {
  const rules = base()
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
