import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Grant } from '../core/grants/grant.ts'
import { type ClientId, isId } from '../core/id.ts'
import type { Principal } from '../core/rights.ts'
import { originOf } from '../http/auth.ts'
import { passwordDoor } from '../http/server.ts'
import { csrfFor, formOf, mustComeFromOurForm, sendPage } from './form.ts'
import { type InteractionParts, tryLogin } from './interactions.ts'
import { frontPage } from './pages/front-page.ts'
import { type GrantsModel, grantsPage, type ShownGrant } from './pages/grants-page.ts'
import { type LoginModel, loginPage } from './pages/login-page.ts'
import { ROUTES } from './routes.ts'

/** Grants of a page: one per login and application. */
const PAGE_SIZE = 20
const GRANTS = '/account/grants'
const LOGIN = '/account/login'

/** The front page, and where users see what they have allowed, and take it back. */
export function accountRoutes(app: FastifyInstance, parts: InteractionParts): void {
  const { core, login, publicUrl } = parts
  const cursors = core.cursors('account-grants')

  app.get('/', { config: { public: true } }, async (_request, reply) =>
    sendPage(reply, frontPage({ grants: GRANTS, device: ROUTES.code_verification })),
  )

  app.get(GRANTS, { config: { public: true } }, async (request, reply) => {
    const known = await login.read(request.raw, request.ip)
    if (known === undefined) return sendPage(reply, signInPage({ step: 'sign_in' }))
    return showGrants(request, reply, known)
  })

  app.post(LOGIN, passwordDoor, async (request, reply) => {
    mustComeFromOurForm(request, { core, publicUrl, purpose: 'account-login' })
    const outcome = await tryLogin(request, reply, parts)
    if ('principal' in outcome) return reply.redirect(GRANTS, 303)
    return sendPage(reply, signInPage(outcome))
  })

  app.post(
    GRANTS,
    { config: { public: true, rateLimit: {}, weight: 'vital' } },
    async (request, reply) => {
      const known = await login.read(request.raw, request.ip)
      if (known === undefined) return reply.redirect(GRANTS, 303)
      mustComeFromOurForm(request, { core, publicUrl, purpose: purposeOf(known) })
      const id = formOf(request).get('client') ?? ''
      const caller = { principal: known, origin: originOf(request, 'oauth') }
      if (!isId(id))
        return showGrants(request, reply, known, { error: 'There is no such application.' })
      const reason = 'withdrawn by the user'
      await core.write((w) => w.withdrawFromClient({ caller, clientId: id as ClientId, reason }))
      return reply.redirect(`${GRANTS}?withdrawn=yes`, 303)
    },
  )

  async function showGrants(
    request: FastifyRequest,
    reply: FastifyReply,
    known: Principal,
    said: Pick<GrantsModel, 'error' | 'notice'> = {},
  ): Promise<FastifyReply> {
    const { after, withdrawn } = request.query as { after?: unknown; withdrawn?: unknown }
    const from = typeof after === 'string' ? cursors.decode(after) : undefined
    const caller = { principal: known, origin: originOf(request, 'oauth') }
    const page = await core.read.grants(caller, {
      filter: { userId: known.user.id },
      from,
      size: PAGE_SIZE,
    })
    const labels = await core.clientLabels(page.items.map(({ clientId }) => clientId))
    const lastUses = await core.oauth.lastUses(page.items.map(({ id }) => id))
    const model: GrantsModel = {
      username: known.user.username,
      action: GRANTS,
      csrf: csrfFor(core, purposeOf(known)),
      grants: [...Map.groupBy(page.items, ({ clientId }) => clientId)].map(([id, grants]) => ({
        ...together(grants, lastUses),
        id,
        client: labels.get(id) ?? { name: 'An application', clientId: id },
      })),
      firstHref: from === undefined ? undefined : GRANTS,
      nextHref:
        page.next === undefined ? undefined : `${GRANTS}?after=${cursors.encode(page.next)}`,
      logoutHref: ROUTES.end_session,
      notice:
        withdrawn === 'yes' ? 'Withdrawn. The application has no access any more.' : undefined,
      ...said,
    }
    return sendPage(reply, grantsPage(model))
  }

  function signInPage(model: Pick<LoginModel, 'step'> & Partial<LoginModel>) {
    return loginPage({
      ...model,
      action: LOGIN,
      csrf: csrfFor(core, 'account-login'),
      clientName: undefined,
      leadsTo: [],
    })
  }
}

/** What an application may do by all of its grants. */
function together(
  grants: readonly Grant[],
  lastUses: ReadonlyMap<string, number>,
): Omit<ShownGrant, 'id' | 'client'> {
  const uses = grants.flatMap(({ id }) => lastUses.get(id) ?? [])
  return {
    scopes: [...new Set(grants.flatMap(({ scopes }) => scopes))],
    resources: [...new Set(grants.flatMap(({ resources }) => resources))],
    createdAtMs: Math.min(...grants.map(({ createdAtMs }) => createdAtMs)),
    expiresAtMs: Math.max(...grants.map(({ expiresAtMs }) => expiresAtMs)),
    lastUsedAtMs: uses.length === 0 ? undefined : Math.max(...uses),
  }
}

/** The forms of one login are of no use in another. */
function purposeOf({ token }: Principal): string {
  return `grants:${token.id}`
}
