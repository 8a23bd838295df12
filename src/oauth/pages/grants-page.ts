import { attributes, type Html, html } from './html.ts'
import { type Page, page } from './page.ts'
import { facts, hidden, places, rights, type ShownClient, shown, shownCode, when } from './parts.ts'
import { explainScopes } from './scopes.ts'

/** What a user lets one application do, from however many logins. */
export interface ShownGrant {
  /** Of the client's row. */
  id: string
  client: ShownClient
  scopes: readonly string[]
  resources: readonly string[]
  createdAtMs: number
  expiresAtMs: number
  lastUsedAtMs: number | undefined
}

export interface GrantsModel {
  username: string
  /** Where every withdrawal goes; gets `csrf` and `client`, the id. */
  action: string
  csrf: string
  grants: readonly ShownGrant[]
  /** Whether this page is the first; an empty later page says so. */
  firstHref: string | undefined
  nextHref: string | undefined
  logoutHref: string
  /** What was just done, in a sentence. */
  notice?: string | undefined
  /** What just went wrong, in a sentence. */
  error?: string | undefined
  status?: number | undefined
}

/** What the user has allowed, each to be withdrawn. */
export function grantsPage(model: GrantsModel): Page {
  return page({
    status: model.status ?? (model.error === undefined ? 200 : 400),
    title: 'What you have allowed',
    isWide: true,
    ...(model.grants.length > 0 && { leadsTo: [] }),
    body: html`<div class="top">
<h1>What you have allowed</h1>
<a href="${model.logoutHref}">Sign out</a>
</div>
<p class="lead">Applications that may act for <strong>${shown(model.username)}</strong></p>
${model.notice !== undefined && html`<div class="box good" role="status"><p>${shown(model.notice)}</p></div>`}
${model.error !== undefined && html`<div class="box danger" role="alert"><p>${shown(model.error)}</p></div>`}
${list(model)}
${paging(model)}`,
  })
}

function list(model: GrantsModel): Html {
  if (model.grants.length > 0) {
    return html`<ul class="grants">${model.grants.map((grant) => item(grant, model))}</ul>`
  }
  return model.firstHref === undefined
    ? html`<p>None. When you allow an application something, it is listed here.</p>`
    : html`<p>There are no more.</p>`
}

function item(grant: ShownGrant, { action, csrf }: GrantsModel): Html {
  const { client, scopes, resources } = grant
  return html`<li>
<h2>${shown(client.name)}</h2>
${shownCode(client.clientId)}
${rights(explainScopes(scopes))}
${places(resources)}
${facts([
  ['Allowed', when(grant.createdAtMs)],
  ['Until', when(grant.expiresAtMs)],
  ['Last used', grant.lastUsedAtMs === undefined ? 'never' : when(grant.lastUsedAtMs)],
])}
<form${attributes({ method: 'post', action })}>
${hidden({ csrf, client: grant.id })}
<button type="submit" class="withdraw">Withdraw<span class="unseen"> what ${shown(client.name)} may do</span></button>
</form>
</li>`
}

function paging({ firstHref, nextHref }: GrantsModel): Html | undefined {
  if (firstHref === undefined && nextHref === undefined) return undefined
  return html`<nav class="paging" aria-label="Pages">
${firstHref !== undefined && html`<a href="${firstHref}">First page</a>`}
${nextHref !== undefined && html`<a href="${nextHref}" rel="next">Next page</a>`}
</nav>`
}
