import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contentSecurityPolicy, formSource, hashSource } from './csp.ts'

test.each([
  ['https://app.example.com:8443/cb?x=1', 'https:'],
  ['http://127.0.0.1:49152/cb', 'http://127.0.0.1:*'],
  ['http://localhost/cb', 'http://localhost:*'],
  ['com.example.app:/cb', 'com.example.app:'],
  ['com.example.app://cb/path', 'com.example.app:'],
])('a form may lead as far as the application behind %s', (uri, source) => {
  expect(formSource(uri)).toBe(source)
})

test.each([
  ['http://[::1]:49152/cb', 'http:'],
  ["https://a;script-src'self'.example.com/", 'https:'],
  ['https://*/', 'https:'],
])('a host that the grammar cannot say leaves the scheme: %s', (uri, source) => {
  expect(formSource(uri)).toBe(source)
})

test.each(['javascript:alert(1)', 'data:text/html,x', '/relative', '', 'about:blank'])(
  'no form leads to %j',
  (uri) => {
    expect(formSource(uri)).toBeUndefined()
  },
)

test('no URI can add a directive or widen one', () => {
  const host = fc.string({ unit: fc.constantFrom(...`a1.-*;, '"\\/?#@[]:%_\t\n`) })
  const uri = fc.oneof(
    fc.string(),
    host.map((text) => `https://${text}`),
    host.map((text) => `${text}:/x`),
  )
  fc.assert(
    fc.property(fc.array(uri), (leadsTo) => {
      const policy = contentSecurityPolicy({ style: 's', leadsTo })
      expect(policy).toMatch(
        /^default-src 'none'; style-src 'sha256-[\w+/]+='; img-src data:; form-action 'self'( [a-z][a-z0-9+.-]*:(\/\/[a-z0-9.-]+(:\*)?)?)*; frame-ancestors 'none'; base-uri 'none'$/,
      )
    }),
  )
})

test('a page without a form may send none, and each source is named once', () => {
  const common = { style: 's' }
  expect(contentSecurityPolicy({ ...common, leadsTo: undefined })).toContain("form-action 'none';")
  expect(
    contentSecurityPolicy({
      ...common,
      leadsTo: ['https://a.example.com/1', 'https://a.example.com/2'],
    }),
  ).toContain("form-action 'self' https:;")
})

test('inline content is named by its SHA-256', () => {
  // The example of CSP 2, section 2.
  expect(hashSource("alert('Hello, world.');")).toBe(
    "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='",
  )
})
