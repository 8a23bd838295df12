import type { KoaContextWithOIDC } from 'oidc-provider'
import {
  type DeviceProblem,
  deviceCodePage,
  deviceConfirmPage,
  deviceDonePage,
} from './pages/device-pages.ts'
import { errorPage } from './pages/error-page.ts'
import { loggedOutPage, logoutPage } from './pages/logout-pages.ts'
import type { Page } from './pages/page.ts'
import { currentRequest } from './request.ts'

/** What the engine says in the words of developers, for people. */
const IN_WORDS: Readonly<Record<string, string>> = {
  'client is invalid':
    'The application that sent you here is not registered with this server, or no longer.',
}

/** The pages that the engine shows by itself. */
export const enginePages = {
  /** Problems of which no redirect may tell, because the very URI may be the problem (RFC 9700, 4.11). */
  async error(
    ctx: KoaContextWithOIDC,
    { error, error_description }: { error: string; error_description?: string | undefined },
  ): Promise<void> {
    const isOurs = ctx.status >= 500
    show(
      ctx,
      errorPage({
        status: ctx.status,
        code: error,
        description: isOurs ? undefined : (IN_WORDS[error_description ?? ''] ?? error_description),
        requestId: currentRequest().origin.requestId,
      }),
    )
  },

  async deviceInput(
    ctx: KoaContextWithOIDC,
    _form: string,
    _out?: unknown,
    problem?: { name?: string; userCode?: string } | undefined,
  ): Promise<void> {
    show(
      ctx,
      deviceCodePage({
        action: ctx.oidc.urlFor('code_verification'),
        xsrf: xsrfOf(ctx),
        charset: 'letters',
        userCode: problem?.userCode,
        problem:
          problem === undefined ? undefined : (DEVICE_PROBLEMS[problem.name ?? ''] ?? 'failed'),
      }),
    )
  },

  async deviceConfirm(
    ctx: KoaContextWithOIDC,
    _form: string,
    client: { clientId: string; clientName?: string | undefined },
    deviceInfo: { ip?: unknown; ua?: unknown },
    shownCode: string,
  ): Promise<void> {
    const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)
    show(
      ctx,
      deviceConfirmPage({
        action: ctx.oidc.urlFor('code_verification'),
        xsrf: xsrfOf(ctx),
        userCode: shownCode,
        shownCode,
        client: { name: client.clientName ?? client.clientId, clientId: client.clientId },
        ip: text(deviceInfo.ip),
        userAgent: text(deviceInfo.ua),
      }),
    )
  },

  async deviceSuccess(ctx: KoaContextWithOIDC): Promise<void> {
    const { client } = ctx.oidc
    show(ctx, deviceDonePage({ clientName: client?.clientName ?? client?.clientId ?? '' }))
  },

  /** What the user gets to see of the device before letting it in. */
  deviceInfo(ctx: KoaContextWithOIDC): Record<string, unknown> {
    return { ip: currentRequest().origin.ip, ua: ctx.get('user-agent').slice(0, 300) }
  },

  async logout(ctx: KoaContextWithOIDC): Promise<void> {
    const { client, session } = ctx.oidc
    const login = await currentRequest().login()
    const back = (session?.state as { postLogoutRedirectUri?: string } | undefined)
      ?.postLogoutRedirectUri
    show(
      ctx,
      logoutPage({
        action: ctx.oidc.urlFor('end_session_confirm'),
        xsrf: xsrfOf(ctx),
        clientName: client?.clientName ?? client?.clientId,
        username: login?.user.username,
        leadsTo: back === undefined ? [] : [back],
      }),
    )
  },

  async loggedOut(ctx: KoaContextWithOIDC): Promise<void> {
    const { client } = ctx.oidc
    show(ctx, loggedOutPage({ clientName: client?.clientName ?? client?.clientId }))
  },
}

/** The engine's errors by name. */
const DEVICE_PROBLEMS: Record<string, DeviceProblem> = {
  NoCodeError: 'missing',
  NotFoundError: 'not_found',
  ExpiredError: 'expired',
  AlreadyUsedError: 'used',
  AbortedError: 'aborted',
}

function xsrfOf({ oidc }: KoaContextWithOIDC): string {
  const state = oidc.session?.state as { secret?: string } | undefined
  if (state?.secret === undefined) throw new Error('The form has no secret.')
  return state.secret
}

function show(ctx: KoaContextWithOIDC, page: Page): void {
  ctx.status = page.status
  ctx.type = 'html'
  ctx.set('Content-Security-Policy', page.csp)
  ctx.body = page.html
}
