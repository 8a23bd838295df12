import fc from 'fast-check'
import { expect, test } from 'vitest'
import { attributes, type Fill, html, isRunning, markupOf, rawElement } from './html.ts'

const HOSTILE = `<img src=x onerror=alert(1)>&"'`
const ESCAPED = '&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;'

test('what is filled into text is escaped and made visible', () => {
  expect(markupOf(html`<p>${`${HOSTILE}\u202e`}</p>`)).toBe(`<p>${ESCAPED}\\u{202e}</p>`)
})

test('what is filled into an attribute is escaped and otherwise exact', () => {
  expect(markupOf(html`<input value="${`${HOSTILE}\u202e\n`}">`)).toBe(
    `<input value="${ESCAPED}\u202e\n">`,
  )
  expect(markupOf(html`<input${attributes({ value: HOSTILE })}>`)).toBe(
    `<input value="${ESCAPED}">`,
  )
})

test('markup composes without being escaped twice', () => {
  const item = (text: string) => html`<li>${text}</li>`
  expect(markupOf(html`<ul>${[item('<'), item('b')]}</ul>${html`<p>&amp;</p>`}`)).toBe(
    '<ul><li>&lt;</li><li>b</li></ul><p>&amp;</p>',
  )
})

test('nothing is left of undefined and false; numbers are text', () => {
  expect(markupOf(html`<p>${undefined}${false}${0}</p>`)).toBe('<p>0</p>')
  expect(markupOf(html`<p${attributes({ hidden: true, id: undefined, lang: false })}></p>`)).toBe(
    '<p hidden></p>',
  )
})

test('no text comes out with a character that could end text or an attribute', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const inText = markupOf(html`${text}`)
      const inAttribute = markupOf(html`<i title="${text}"></i>`).slice('<i title="'.length, -6)
      for (const markup of [inText, inAttribute]) {
        expect(markup).not.toMatch(/[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/)
      }
    }),
  )
})

test('an object from outside cannot pass for markup', () => {
  const forged = JSON.parse('{"markup":"<b>","Symbol(markup)":"<b>"}') as Fill
  expect(() => html`<p>${forged}</p>`).toThrow(TypeError)
  expect(() => html`<p title="${html`<b>`}"></p>`).toThrow(TypeError)
})

test('holes where escaping means nothing are refused', () => {
  expect(() => html`<p title=${'a'}></p>`).toThrow(TypeError)
  expect(() => html`<p ${'onclick'}="a"></p>`).toThrow(TypeError)
  expect(() => html`<script>${'a'}</script>`).toThrow(TypeError)
  expect(() => html`<!-- ${'a'} -->`).toThrow(TypeError)
  expect(() => html`<p ${attributes({})}`).toThrow(TypeError)
  expect(() => attributes({ 'on click=': 'a' })).toThrow(TypeError)
  expect(() => rawElement('style', 'a</style><b>')).toThrow(TypeError)
})

test.each([
  'javascript:alert(1)',
  ' JaVa\tScRiPt:alert(1)',
  'data:text/html,<script>',
  'vbscript:x',
  'blob:https://app.example.com/1',
  'https://[',
])('a URL that is no place to go to is refused: %j', (url) => {
  expect(isRunning(url)).toBe(true)
  expect(() => html`<a href="${url}">x</a>`).toThrow(TypeError)
  expect(() => attributes({ action: url })).toThrow(TypeError)
})

test('a URL is filled in as a whole, so that its scheme can be seen', () => {
  expect(() => html`<a href="java${'script:alert(1)'}">x</a>`).toThrow(TypeError)
  for (const url of ['/a?b=c&d', 'https://app.example.com/cb', 'com.example.app:/cb']) {
    expect(markupOf(html`<a href="${url}">x</a>`)).toBe(
      `<a href="${url.replace('&', '&amp;')}">x</a>`,
    )
  }
})
