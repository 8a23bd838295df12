import { attributes, html } from './html.ts'
import { type Page, page } from './page.ts'
import { hidden } from './parts.ts'

export interface FormPostModel {
  /** The client's redirect URI, which must be registered; or a page of this server. */
  action: string
  /** What goes there, each as it is; undefined ones are left out. */
  fields: Readonly<Record<string, string | undefined>>
  /** URIs, besides the action's, where the client may send the browser after the post. */
  leadsTo?: readonly string[]
}

/** Not `form.submit`, which a field of that name would replace. */
const SUBMIT = 'HTMLFormElement.prototype.submit.call(document.forms[0])'

/**
 * Carries an answer to the client in a form (OAuth 2.0 Form Post Response Mode). The one page with a
 * script; without it, the button does the same. Throws `TypeError` for an action that would run.
 */
export function formPostPage({ action, fields, leadsTo = [] }: FormPostModel): Page {
  return page({
    title: 'Continue',
    leadsTo: [action, ...leadsTo],
    script: SUBMIT,
    body: html`<h1>One moment</h1>
<p class="lead">You are being taken on. If nothing happens, press the button.</p>
<form${attributes({ method: 'post', action })}>
${hidden(fields)}
<div class="actions"><button type="submit" class="primary">Continue</button></div>
</form>`,
  })
}
