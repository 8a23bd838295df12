import { attributes, html } from './html.ts'
import { type Page, page } from './page.ts'
import { hidden, shown } from './parts.ts'

export interface LogoutModel {
  /** Where the form goes; gets `xsrf`, and `logout=yes` to sign out. */
  action: string
  xsrf: string
  /** Who asks for it, if a client does. */
  clientName: string | undefined
  username: string | undefined
  /** URIs where the browser may be sent after the post: the post-logout redirect URI. */
  leadsTo: readonly string[]
}

/** Asks before signing out, so that no other site can do it (OpenID Connect RP-Initiated Logout, section 2). */
export function logoutPage({ action, xsrf, clientName, username, leadsTo }: LogoutModel): Page {
  return page({
    title: 'Sign out',
    leadsTo,
    body: html`<h1>Sign out?</h1>
${username !== undefined && html`<p class="lead">Signed in as <strong>${shown(username)}</strong></p>`}
<p>${clientName !== undefined && html`${shown(clientName)} asks whether to end your login here. `}Signing out also ends the access of every application that only has it while you are signed in.</p>
<form${attributes({ method: 'post', action })}>
${hidden({ xsrf })}
<div class="actions">
<button type="submit" class="primary" name="logout" value="yes">Sign out</button>
<button type="submit">Stay signed in</button>
</div>
</form>`,
  })
}

/**
 * After the question, when no client wants the user back. With a client, only its access ended: the
 * login here goes on.
 */
export function loggedOutPage({ clientName }: { clientName?: string | undefined } = {}): Page {
  const outcome =
    clientName === undefined
      ? 'You are signed out.'
      : html`You are signed out of ${shown(clientName)}, and still signed in here.`
  return page({
    title: 'Signed out',
    body: html`<h1>Signed out</h1>
<div class="box good" role="status"><p>${outcome}</p></div>
<p>You can close this page. On a computer that others use, close the whole browser.</p>`,
  })
}
