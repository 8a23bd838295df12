import { html } from './html.ts'
import { type Page, page } from './page.ts'

export interface FrontModel {
  /** Where users see what they have allowed. */
  grants: string
  /** Where users enter the code of a device. */
  device: string
}

/** What is here, for people who open the server's address. It says nothing that is not public. */
export function frontPage({ grants, device }: FrontModel): Page {
  return page({
    title: 'Welcome',
    body: html`<h1>A token authority</h1>
<p class="lead">This server issues, checks and revokes credentials.</p>
<ul class="links">
<li><a href="${grants}">What you have allowed</a><p class="hint">Applications that may act for you. Withdraw what you do not need.</p></li>
<li><a href="${device}">Connect a device</a><p class="hint">Enter the code that it shows.</p></li>
<li><a href="/docs">API reference</a><p class="hint">For developers. Every operation can be tried there.</p></li>
</ul>
<p class="note">Administrators use the command line: <code>mintmark login</code>, then <code>mintmark overview</code>.</p>`,
  })
}
