import { visible } from './visible.ts'

const MARKUP = Symbol('markup')
const ATTRIBUTES = Symbol('attributes')

/** Markup of ours. Only `html` and `rawElement` make it, so no text from outside can pass for it. */
export interface Html {
  readonly [MARKUP]: string
}

/** Attributes of ours, to be put inside a tag. */
export interface Attributes {
  readonly [ATTRIBUTES]: string
}

/** What a template takes; `undefined` and `false` leave nothing. */
export type Fill = string | number | undefined | false | Html | readonly Html[] | Attributes

type Place = { in: 'text' } | { in: 'tag' } | { in: 'attribute'; name: string; isStart: boolean }

const places = new WeakMap<TemplateStringsArray, Place[]>()

/**
 * Markup from a template. Text that is filled in is made visible and escaped; in a quoted attribute it
 * is escaped alone, because a form must send back exactly what it was given.
 * Throws `TypeError` for a template with holes elsewhere, and for a URL that would run as a script.
 */
export function html(strings: TemplateStringsArray, ...fills: Fill[]): Html {
  let known = places.get(strings)
  if (known === undefined) {
    known = placesIn(strings)
    places.set(strings, known)
  }
  let markup = strings[0] ?? ''
  for (const [index, place] of known.entries()) {
    markup += filled(place, fills[index]) + (strings[index + 1] ?? '')
  }
  return { [MARKUP]: markup }
}

/** Attributes for the inside of a tag: `true` stands alone, `undefined` and `false` are left out. */
export function attributes(
  values: Readonly<Record<string, string | number | boolean | undefined>>,
): Attributes {
  let markup = ''
  for (const [name, value] of Object.entries(values)) {
    if (!/^[a-z][a-z-]*$/.test(name)) throw new TypeError('This is no name for an attribute.')
    if (value === undefined || value === false) continue
    markup += value === true ? ` ${name}` : ` ${name}="${attributeValue(name, String(value))}"`
  }
  return { [ATTRIBUTES]: markup }
}

/**
 * An element whose content browsers take as it is. Escaping means nothing in there, so the content
 * must be a constant of ours. Throws `TypeError` when it would end the element early.
 */
export function rawElement(name: 'style', content: string): Html {
  if (/<[/!]|<script/i.test(content)) throw new TypeError(`This cannot stand in a ${name} element.`)
  return { [MARKUP]: `<${name}>${content}</${name}>` }
}

/** The text of finished markup. */
export function markupOf(markup: Html): string {
  return markup[MARKUP]
}

/** Where each hole of a template is. */
function placesIn(strings: TemplateStringsArray): Place[] {
  const found: Place[] = []
  let state: 'text' | 'tag' | 'attribute' = 'text'
  let name = ''
  for (const [index, literal] of strings.entries()) {
    if (/<(?:script|style)\b|<!--/i.test(literal)) {
      throw new TypeError('Escaping means nothing in this element: use rawElement.')
    }
    for (let at = 0; at < literal.length; at++) {
      const character = literal[at]
      if (state === 'text') state = character === '<' ? 'tag' : 'text'
      else if (character === '"') {
        name = /([a-z-]+)=$/.exec(literal.slice(0, at))?.[1] ?? ''
        state = state === 'tag' ? 'attribute' : 'tag'
      } else if (state === 'tag' && character === '>') state = 'text'
    }
    if (index === strings.length - 1) break
    found.push(
      state === 'attribute' ? { in: state, name, isStart: literal.endsWith('"') } : { in: state },
    )
  }
  if (state !== 'text') throw new TypeError('This template ends inside a tag.')
  return found
}

function filled(place: Place, fill: Fill): string {
  if (fill === undefined || fill === false) return ''
  if (place.in === 'tag') {
    if (typeof fill === 'object' && ATTRIBUTES in fill) return fill[ATTRIBUTES]
    throw new TypeError('Inside a tag, fill in attributes or quoted values.')
  }
  if (typeof fill === 'object') {
    if (place.in === 'text' && Array.isArray(fill)) return fill.map(markupOf).join('')
    if (place.in === 'text' && MARKUP in fill) return fill[MARKUP]
    throw new TypeError(`This cannot be filled into ${place.in}.`)
  }
  if (place.in === 'text') return escaped(visible(String(fill)))
  if (isUrl(place.name) && !place.isStart) throw new TypeError('Fill in the URL as a whole.')
  return attributeValue(place.name, String(fill))
}

function attributeValue(name: string, value: string): string {
  if (isUrl(name)) mustNotRun(value)
  return escaped(value)
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? '')
}

function isUrl(attribute: string): boolean {
  return ['action', 'formaction', 'href', 'src'].includes(attribute)
}

/** Schemes whose URLs are not places to go to but content with the rights of this page or of none. */
const RUNNING = ['javascript:', 'data:', 'vbscript:', 'blob:', 'filesystem:', 'file:', 'about:']

/** Whether going to the URL could run something, or cannot be told. */
export function isRunning(url: string): boolean {
  const parsed = URL.parse(url, 'https://here.example')
  return parsed === null || RUNNING.includes(parsed.protocol)
}

function mustNotRun(url: string): void {
  if (isRunning(url)) throw new TypeError('This URL leads to no page.')
}
