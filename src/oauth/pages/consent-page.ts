import { durationInWords } from './duration-in-words.ts'
import { attributes, type Html, html } from './html.ts'
import { type Page, page } from './page.ts'
import { facts, hidden, places, rights, type ShownClient, shown, shownCode } from './parts.ts'
import { explainScopes, opensThisServer } from './scopes.ts'

export interface ConsentModel {
  /** Where the form goes; gets `csrf` and `decision`: `allow`, `deny` or `switch` (another account). */
  action: string
  csrf: string
  client: ShownClient
  /** Undefined when nothing is sent back: a device asks by itself. */
  redirectUri: string | undefined
  username: string
  /** What is asked for now and not allowed yet. */
  scopes: readonly string[]
  resources: readonly string[]
  /** What the user has allowed this client before; both empty: it is new. */
  allowed: { scopes: readonly string[]; resources: readonly string[] }
  accessTtlSeconds: number
  /** How long `offline_access` lasts at most. */
  offlineTtlSeconds: number | undefined
  /** URIs, besides the redirect URI, where the browser may be sent after the post. */
  leadsTo?: readonly string[]
}

/** Asks the user to allow a client something. */
export function consentPage(model: ConsentModel): Page {
  const { client, redirectUri, allowed } = model
  const isExtension = allowed.scopes.length > 0 || allowed.resources.length > 0
  return page({
    title: isExtension ? 'Give more access?' : 'Give access?',
    leadsTo: [...(redirectUri === undefined ? [] : [redirectUri]), ...(model.leadsTo ?? [])],
    body: html`<h1>Give ${shown(client.name)} ${isExtension && 'more '}access?</h1>
<form${attributes({ method: 'post', action: model.action })}>
${hidden({ csrf: model.csrf })}
<div class="account">
<p>Signed in as <strong>${shown(model.username)}</strong></p>
<button type="submit" class="plain" name="decision" value="switch">Use another account</button>
</div>
${warning(model)}
<h2>${isExtension ? 'New: it will also be able to' : 'It will be able to'}</h2>
${asked(model)}
${isExtension && before(model)}
${facts([
  ['Goes back to', destination(redirectUri)],
  ['Client id', shownCode(client.clientId)],
  ['Access lasts', lifetime(model)],
])}
<div class="actions pair">
<button type="submit" class="primary" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="deny">Deny</button>
</div>
</form>
<p class="note">Allow only what you know and expect. You can withdraw it at any time.</p>`,
  })
}

function warning({ client, scopes }: ConsentModel): Html | undefined {
  if (!scopes.some(opensThisServer)) return undefined
  return html`<div class="box warning" role="note">
<p><strong>This is full access to this server.</strong></p>
<p>${shown(client.name)} could do here everything that you may do, in your name: see, create and revoke tokens, and change whatever you may change. Allow it only if you would give it your password.</p>
</div>`
}

function asked({ scopes, resources, offlineTtlSeconds }: ConsentModel): Html {
  if (scopes.length === 0 && resources.length === 0) return html`<p>Nothing new.</p>`
  return html`${rights(explainScopes(scopes, { offlineTtlSeconds }))}
${places(resources)}`
}

function before({ allowed, offlineTtlSeconds }: ConsentModel): Html {
  return html`<h2>Already allowed</h2>
${rights(explainScopes(allowed.scopes, { offlineTtlSeconds }))}
${places(allowed.resources)}`
}

/** Without `offline_access` a grant ends with the login during which it was given. */
function lifetime({ scopes, allowed, accessTtlSeconds }: ConsentModel): string {
  const atATime = `${durationInWords(accessTtlSeconds)} at a time`
  return [...scopes, ...allowed.scopes].includes('offline_access')
    ? `${atATime}, renewed while you are away`
    : `${atATime}, until you sign out at the latest`
}

/** The part of the redirect URI by which a person can tell who gets the answer. */
function destination(redirectUri: string | undefined): Html {
  if (redirectUri === undefined) return html`the device that showed you the code`
  const url = URL.parse(redirectUri)
  if (url === null) return shownCode(redirectUri)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    return html`an app on this device, ${shownCode(url.protocol)}`
  }
  if (isLoopback(url.hostname)) return html`a program on this computer, ${shownCode(url.host)}`
  return shownCode(url.protocol === 'https:' ? url.host : url.origin)
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)
}
