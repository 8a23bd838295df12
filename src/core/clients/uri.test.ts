import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkRedirectUri, checkResource } from './uri.ts'

const refused = expect.objectContaining({ code: 'invalid_input' })

const WEB = [
  'https://app.example.com',
  'https://app.example.com/',
  'https://app.example.com/callback?tenant=1&x=%20',
  'https://App.Example.com/Callback',
  'https://app.example.com:8443/callback',
  'https://app.example.com:443/callback',
  'https://192.0.2.7/callback',
  'https://[2001:db8::1]/callback',
  'https://xn--bcher-kva.example/callback',
  'http://localhost/callback',
  'http://localhost:3000/callback',
  'http://127.0.0.1:3000/callback',
  'http://[::1]:3000/callback',
]
const APPS = [
  'com.example.app:/callback',
  'com.example.app://callback',
  'com.example.app:callback',
  'com.Example.App://auth',
]
const NOWHERE = [
  '',
  ' ',
  'callback',
  '/callback',
  '//app.example.com/callback',
  'https:',
  'https:app.example.com',
  'https:/app.example.com',
  'https:///app.example.com',
  'https://',
  'https://:443/',
  'https://?x',
  'https://app.example.com:99999/',
  'https://app.example.com/#',
  'https://app.example.com/#fragment',
  'com.example.app:/callback#x',
  'https://alice@app.example.com/',
  'https://alice:secret@app.example.com/',
  'https://@app.example.com/',
  'https://:@app.example.com/',
  'com.example.app://alice@host/',
  'com.example.app://@host/',
  'https://*.example.com/',
  'https://app.example.com/*',
  'https://app.example.com\\@evil.example/',
  'https:\\\\app.example.com',
  'https://app.example.com/a b',
  ' https://app.example.com/',
  'https://app.example.com/\n',
  'https://app.example.com/\tx',
  'ht\ntps://app.example.com/',
  'https://bücher.example/',
  'https://app.example.com/ü',
  'https://app.example.com/\u202e',
  'https://app.example.com/%',
  'https://app.example.com/%zz',
  'https://ex%61mple.com/',
  'https://app.example.com;sandbox/',
  "https://app.example.com'/",
  'https://app.example.com/<b>',
  'https://app.example.com/"',
  'http://app.example.com/',
  'http://localhost.example.com/',
  'http://localhost.',
  'http://127.0.0.1.example.com/',
  'http://127.0.0.2/',
  'http://127.1/',
  'http://0x7f.0.0.1/',
  'http://2130706433/',
  'http://[::]/',
  'http://0.0.0.0/',
  'javascript:alert(1)',
  'JavaScript:alert(1)',
  'data:text/html,x',
  'vbscript:x',
  'file:///etc/passwd',
  'blob:https://app.example.com/x',
  'about:blank',
  'ftp://app.example.com/',
  'ws://app.example.com/',
  'myapp:/callback',
  'myapp://callback',
  '.app:/callback',
  'com.:/callback',
  'com..example:/callback',
  'com.example.app:',
  'urn:ietf:wg:oauth:2.0:oob',
]

describe('checkRedirectUri', () => {
  it.each(WEB)('takes %s from every client, as it is written', (uri) => {
    expect(checkRedirectUri(uri, 'confidential')).toBe(uri)
    expect(checkRedirectUri(uri, 'public')).toBe(uri)
  })

  it.each(APPS)('takes %s from public clients only', (uri) => {
    expect(checkRedirectUri(uri, 'public')).toBe(uri)
    expect(() => checkRedirectUri(uri, 'confidential')).toThrow(refused)
  })

  it.each(NOWHERE)('refuses "%s"', (uri) => {
    expect(() => checkRedirectUri(uri, 'public')).toThrow(refused)
    expect(() => checkRedirectUri(uri, 'confidential')).toThrow(refused)
  })

  it('refuses what is endless', () => {
    const uri = `https://app.example.com/${'x'.repeat(1976)}`
    expect(checkRedirectUri(uri, 'public')).toBe(uri)
    expect(() => checkRedirectUri(`${uri}x`, 'public')).toThrow(refused)
  })

  it('takes nothing that a browser would read as leading elsewhere', () => {
    const part = fc.constantFrom(
      ...['https:', 'http:', 'HTTPS:', '/', '//', '\\', '@', ':', '#', '?', '.', '%2f', '%00', '*'],
      ...['app.example.com', 'localhost', '127.0.0.1', '[::1]', 'evil.example', 'com.example.app:'],
      ...['javascript:', '\t', '\n', ' ', 'ü', '443', 'x', '..', ';', "'"],
    )
    const tried = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(tried, (text) => {
        let taken: string
        try {
          taken = checkRedirectUri(text, 'public')
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_input' })
          return
        }
        expect(taken).toBe(text)
        const url = new URL(text)
        expect([url.username, url.password, url.hash]).toEqual(['', '', ''])
        expect(text).toMatch(/^[\x21-\x7e]+$/)
        if (url.protocol === 'http:') {
          expect(['localhost', '127.0.0.1', '[::1]']).toContain(url.hostname)
        } else if (url.protocol !== 'https:') {
          expect(url.protocol).toMatch(/\../)
        }
        // What follows the scheme in the text is the host that a browser goes to.
        if (/^https?:/i.test(text)) {
          expect(text.toLowerCase()).toMatch(/^https?:\/\//)
          expect(
            text
              .slice(text.indexOf('//') + 2)
              .toLowerCase()
              .startsWith(url.hostname),
          ).toBe(true)
        }
      }),
      { numRuns: 5000 },
    )
  })
})

describe('checkResource', () => {
  it.each([...WEB, 'http://api.example.com/', 'https://api.example.com/v1?x=1'])(
    'takes %s',
    (uri) => {
      expect(checkResource(uri)).toBe(uri)
    },
  )

  it.each([
    ...APPS,
    '',
    'api',
    'urn:example:api',
    'https://api.example.com/#x',
    'https://alice@api.example.com/',
    'https://*.example.com/',
    'https:api.example.com',
    'javascript:alert(1)',
  ])('refuses "%s"', (uri) => {
    expect(() => checkResource(uri)).toThrow(refused)
  })
})
