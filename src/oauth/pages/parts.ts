import { attributes, type Html, html } from './html.ts'
import type { Explanation } from './scopes.ts'

/** A client as its pages show it. */
export interface ShownClient {
  name: string
  clientId: string
}

/** Text from elsewhere amid ours, kept from reordering what stands around it. */
export function shown(text: string): Html {
  return html`<bdi>${text}</bdi>`
}

/** The same for what is read letter by letter. */
export function shownCode(text: string): Html {
  return html`<code>${shown(text)}</code>`
}

/** Fields that only go back to the server. */
export function hidden(fields: Readonly<Record<string, string | undefined>>): Html[] {
  return Object.entries(fields)
    .filter((field): field is [string, string] => field[1] !== undefined)
    .map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)
}

const PROBLEM_ID = 'problem'

/** Why the form is here again, read out at once. */
export function problem(sentence: string | undefined): Html | undefined {
  if (sentence === undefined) return undefined
  return html`<div class="box danger" role="alert" id="${PROBLEM_ID}">
<p>${shown(sentence)}</p>
</div>`
}

export interface Field {
  name: string
  label: string
  type: 'text' | 'password'
  autocomplete: string
  hint?: string
  value?: string | undefined
  /** What the problem of the page is about. */
  isWrong: boolean
  isFocused?: boolean
  isReadOnly?: boolean
  extra?: Readonly<Record<string, string | number | boolean>>
}

/** A labelled input; its hint and the page's problem are read out with it. */
export function field(wish: Field): Html {
  const { name, label, hint, isWrong } = wish
  const hintId = hint === undefined ? undefined : `${name}-hint`
  const described = [isWrong ? PROBLEM_ID : undefined, hintId].filter((id) => id !== undefined)
  const input = attributes({
    id: name,
    name,
    type: wish.type,
    autocomplete: wish.autocomplete,
    value: wish.value,
    required: true,
    readonly: wish.isReadOnly ?? false,
    autofocus: wish.isFocused ?? false,
    'aria-describedby': described.length > 0 && described.join(' '),
    'aria-invalid': isWrong && 'true',
    ...wish.extra,
  })
  return html`<div class="field">
<label for="${name}">${label}</label>
${hint !== undefined && html`<p class="hint" id="${hintId}">${hint}</p>`}
<input${input}>
</div>`
}

/** Terms and what they are; those without a value are left out. */
export function facts(pairs: readonly (readonly [string, Html | string | undefined])[]): Html {
  const rows = pairs
    .filter(([, value]) => value !== undefined)
    .map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)
  return html`<dl class="facts">${rows}</dl>`
}

/** What is or may be allowed, in words where we have them; nothing without scopes. */
export function rights(explanations: readonly Explanation[]): Html | undefined {
  if (explanations.length === 0) return undefined
  const items = explanations.map(
    ({ scope, means, isDangerous }) =>
      html`<li${attributes({ class: isDangerous && 'risk' })}>${
        means === undefined ? shownCode(scope) : html`${means} <small>${shownCode(scope)}</small>`
      }</li>`,
  )
  return html`<ul class="rights">${items}</ul>`
}

/** Where the rights may be used (RFC 8707); nothing without resources. */
export function places(resources: readonly string[]): Html | undefined {
  if (resources.length === 0) return undefined
  const items = resources.map((resource) => html`<li>${shownCode(resource)}</li>`)
  return html`<p class="over">At these services</p>
<ul class="rights">${items}</ul>`
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** An instant for people; we know no time zone of theirs, so it names its own. */
export function when(atMs: number): Html {
  const iso = new Date(atMs).toISOString()
  const [year, month, day] = iso.slice(0, iso.indexOf('T')).split(/(?<=\d)-/)
  const date = `${Number(day)} ${MONTHS[Number(month) - 1]} ${Number(year)}`
  return html`<time datetime="${iso}">${date}, ${iso.slice(-13, -8)} UTC</time>`
}
