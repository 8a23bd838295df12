import { attributes, type Html, html } from './html.ts'
import { type Page, page } from './page.ts'
import { type Field, field, hidden, problem, shown } from './parts.ts'

export interface LoginModel {
  /** Where the form goes; gets `csrf`, `username`, `password`, or `action=cancel`. */
  action: string
  csrf: string
  /** Undefined: to the user's own pages here, and then there is nothing to cancel. */
  clientName: string | undefined
  /**
   * `new_password`: the password must be replaced. The form then also sends `new_password` and
   * `new_password_again`; the current one is asked again, because no page carries a password.
   */
  step: 'sign_in' | 'new_password'
  /** To begin with: from `login_hint`, or what was typed before. */
  username?: string | undefined
  /** Why it did not work, in a sentence. */
  error?: string | undefined
  /** What the sentence is about; without it, all that was typed. */
  wrongField?: LoginField | undefined
  /** With an error 400 unless said otherwise, such as 429. */
  status?: number | undefined
  /** URIs where the browser may be sent after the post, the client's redirect URI above all. */
  leadsTo: readonly string[]
}

export type LoginField = 'username' | 'password' | 'new_password' | 'new_password_again'

export function loginPage(model: LoginModel): Page {
  const isReplacing = model.step === 'new_password'
  const heading = isReplacing ? 'Choose a new password' : 'Sign in'
  return page({
    status: model.status ?? (model.error === undefined ? 200 : 400),
    title: model.error === undefined ? heading : `Problem: ${heading}`,
    leadsTo: model.leadsTo,
    body: html`<h1>${heading}</h1>
${isReplacing ? reason(model) : purpose(model)}
${problem(model.error)}
<form${attributes({ method: 'post', action: model.action })}>
${hidden({ csrf: model.csrf })}
${(isReplacing ? replacingFields(model) : signInFields(model)).map(field)}
<div class="actions">
<button type="submit" class="primary">${isReplacing ? 'Save and sign in' : 'Sign in'}</button>
${model.clientName !== undefined && html`<button type="submit" name="action" value="cancel" formnovalidate>Cancel</button>`}
</div>
</form>`,
  })
}

function purpose({ clientName }: LoginModel): Html {
  if (clientName === undefined) return html`<p class="lead">to see what you have allowed</p>`
  return html`<p class="lead">to continue to <strong>${shown(clientName)}</strong></p>`
}

function reason(model: LoginModel): Html {
  return html`${purpose(model)}
<p>Your current password was made for one use or has become too old. Replace it to go on; from then on only the new one works.</p>`
}

function signInFields(model: LoginModel): Field[] {
  const isKnown = model.username !== undefined && model.username !== ''
  return [
    { ...usernameField(model), isFocused: !isKnown },
    { ...passwordField(model), label: 'Password', isFocused: isKnown },
  ]
}

function replacingFields(model: LoginModel): Field[] {
  const isKnown = model.username !== undefined && model.username !== ''
  return [
    { ...usernameField(model), isReadOnly: isKnown },
    { ...passwordField(model), label: 'Current password', isFocused: true },
    {
      name: 'new_password',
      label: 'New password',
      type: 'password',
      autocomplete: 'new-password',
      hint: 'At least 15 characters. Several words that do not belong together are good.',
      isWrong: isWrong(model, 'new_password'),
      // No maxlength: browsers would cut a pasted password without a word.
      extra: { minlength: 15 },
    },
    {
      name: 'new_password_again',
      label: 'New password again',
      type: 'password',
      autocomplete: 'new-password',
      isWrong: isWrong(model, 'new_password_again'),
    },
  ]
}

function usernameField(model: LoginModel): Field {
  return {
    name: 'username',
    label: 'Username or email',
    type: 'text',
    autocomplete: 'username',
    value: model.username,
    isWrong: isWrong(model, 'username'),
    extra: { autocapitalize: 'none', spellcheck: 'false', inputmode: 'email' },
  }
}

function passwordField(model: LoginModel): Omit<Field, 'label'> {
  return {
    name: 'password',
    type: 'password',
    autocomplete: 'current-password',
    isWrong: isWrong(model, 'password'),
  }
}

function isWrong({ error, wrongField }: LoginModel, name: LoginField): boolean {
  return error !== undefined && (wrongField === undefined || wrongField === name)
}
