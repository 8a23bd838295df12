import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkNewPassword } from '../../core/users/password.ts'
import { type ConsentModel, consentPage } from './consent-page.ts'
import { hashSource } from './csp.ts'
import { deviceCodePage, deviceConfirmPage, deviceDonePage } from './device-pages.ts'
import { errorPage } from './error-page.ts'
import { frontPage } from './front-page.ts'
import { type GrantsModel, grantsPage } from './grants-page.ts'
import { type LoginModel, loginPage } from './login-page.ts'
import { loggedOutPage, logoutPage } from './logout-pages.ts'
import type { Page } from './page.ts'

const login: LoginModel = {
  action: '/oauth2/interaction/1/login',
  csrf: 'csrf-1',
  clientName: 'Example Dashboard',
  step: 'sign_in',
  leadsTo: ['https://app.example.com/cb'],
}
const consent: ConsentModel = {
  action: '/oauth2/interaction/1/consent',
  csrf: 'csrf-1',
  client: { name: 'Example Dashboard', clientId: 'dashboard' },
  redirectUri: 'https://app.example.com/cb',
  username: 'alice',
  scopes: ['openid', 'profile', 'reports:read'],
  resources: ['https://api.example.com'],
  allowed: { scopes: [], resources: [] },
  accessTtlSeconds: 3600,
  offlineTtlSeconds: 2_592_000,
}
const grants: GrantsModel = {
  username: 'alice',
  action: '/oauth2/grants',
  csrf: 'csrf-1',
  grants: [1, 2].map((id) => ({
    id: `grant-${id}`,
    client: { name: `Client ${id}`, clientId: `client-${id}` },
    scopes: ['openid', 'mintmark'],
    resources: ['https://api.example.com'],
    createdAtMs: Date.UTC(2026, 0, 2, 3, 4),
    expiresAtMs: Date.UTC(2026, 1, 2, 3, 4),
    lastUsedAtMs: undefined,
  })),
  firstHref: '/oauth2/grants',
  nextHref: '/oauth2/grants?after=2',
  logoutHref: '/oauth2/session/end',
}
const device = { action: '/oauth2/device', xsrf: 'xsrf-1', charset: 'letters' } as const

/** Every page, with `text` in each place where text comes from elsewhere. */
function everyPage(text: string): Record<string, Page> {
  const client = { name: text, clientId: text }
  const asked = { client, username: text, csrf: text, scopes: [text], resources: [text] }
  const replacing = { ...login, csrf: text, clientName: text, step: 'new_password' } as const
  return {
    login: loginPage({ ...login, csrf: text, clientName: text, username: text, error: text }),
    'login without a client': loginPage({ ...login, clientName: undefined }),
    'new password': loginPage({ ...replacing, username: text, error: text }),
    'new password of whom': loginPage({ ...replacing, wrongField: 'new_password' }),
    consent: consentPage({ ...consent, ...asked }),
    'consent to more': consentPage({
      ...consent,
      ...asked,
      allowed: { scopes: [text], resources: [text] },
    }),
    'consent to everything': consentPage({ ...consent, client, scopes: ['mintmark', text] }),
    'consent for a device': consentPage({ ...consent, ...asked, redirectUri: undefined }),
    'device code': deviceCodePage({ ...device, xsrf: text }),
    'device code again': deviceCodePage({ ...device, userCode: text, problem: 'not_found' }),
    'device refused': deviceCodePage({ ...device, problem: 'aborted' }),
    'device confirm': deviceConfirmPage({
      ...device,
      xsrf: text,
      userCode: text,
      shownCode: text,
      client,
      ip: text,
      userAgent: text,
    }),
    'device done': deviceDonePage({ clientName: text }),
    logout: logoutPage({
      action: '/oauth2/session/end/confirm',
      xsrf: text,
      clientName: text,
      username: text,
      leadsTo: ['https://app.example.com/bye'],
    }),
    'logged out': loggedOutPage(),
    'logged out of a client': loggedOutPage({ clientName: text }),
    error: errorPage({
      status: 400,
      title: text,
      code: text,
      description: text,
      requestId: text,
      next: text,
    }),
    grants: grantsPage({
      ...grants,
      ...asked,
      notice: text,
      error: text,
      grants: grants.grants.map((grant) => ({ ...grant, ...asked, id: text })),
    }),
    front: frontPage({ grants: '/account/grants', device: '/device' }),
    'no grants': grantsPage({ ...grants, username: text, grants: [] }),
  }
}

interface Element {
  name: string
  attributes: Record<string, string>
  parent: Element | undefined
  /** Its own text and that of what it contains. */
  text: string
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" }
const VOID = ['meta', 'link', 'input']

function decoded(text: string): string {
  if (/[<>]|&(?!(?:amp|lt|gt|quot|#39);)/.test(text)) throw new Error(`Not escaped: ${text}`)
  return text.replaceAll(/&([a-z0-9#]+);/g, (_, entity: string) => ENTITIES[entity] ?? '')
}

/** A strict reader: only what our templates may contain, everything closed in its order. */
function parse(markup: string): Element[] {
  const start = '<!doctype html>\n'
  if (!markup.startsWith(start)) throw new Error('No doctype')
  const found: Element[] = []
  const open: Element[] = []
  let at = start.length
  while (at < markup.length) {
    const next = markup.indexOf('<', at)
    const text = decoded(markup.slice(at, next === -1 ? undefined : next))
    for (const element of open) element.text += text
    if (next === -1) break
    const tag = /<(\/?)([a-z0-9]+)((?: [a-zA-Z-]+(?:="[^"]*")?)*)(\/?)>/y
    tag.lastIndex = next
    const [whole, isEnd, name = '', rest = '', isEmpty] = tag.exec(markup) ?? []
    if (whole === undefined) throw new Error(`No tag: ${markup.slice(next, next + 80)}`)
    at = next + whole.length
    if (isEnd === '/') {
      if (open.pop()?.name !== name) throw new Error(`Not open: ${name}`)
      continue
    }
    const element = { name, attributes: attributesOf(rest), parent: open.at(-1), text: '' }
    found.push(element)
    if (name === 'style' || name === 'script') {
      const end = markup.indexOf(`</${name}>`, at)
      element.text = markup.slice(at, end)
      at = end + name.length + 3
    } else if (isEmpty !== '/' && !VOID.includes(name)) open.push(element)
  }
  if (open.length > 0) throw new Error('Not closed')
  return found
}

function attributesOf(text: string): Record<string, string> {
  const all = [...text.matchAll(/ ([a-zA-Z-]+)(?:="([^"]*)")?/g)]
  const names = all.map(([, name]) => name)
  if (new Set(names).size < names.length) throw new Error(`Twice the same: ${text}`)
  return Object.fromEntries(all.map(([, name = '', value = '']) => [name, decoded(value)]))
}

function named(elements: Element[], name: string): Element[] {
  return elements.filter((element) => element.name === name)
}

function isInside(element: Element, name: string): boolean {
  return (
    element.parent !== undefined && (element.parent.name === name || isInside(element.parent, name))
  )
}

/** What a browser would send for the form when that button is pressed. */
function sent({ html }: Page, button?: Record<string, string>): Record<string, string> {
  const inputs = named(parse(html), 'input').map(({ attributes }) => attributes)
  return {
    ...Object.fromEntries(inputs.map(({ name = '', value = '' }) => [name, value])),
    ...button,
  }
}

function buttons({ html }: Page): [string, string, string][] {
  return named(parse(html), 'button').map(({ attributes, text }) => [
    attributes.name ?? '',
    attributes.value ?? '',
    text,
  ])
}

describe.each(Object.entries(everyPage('Some text')))('the page: %s', (_, page) => {
  const elements = parse(page.html)

  test('has a language, a title, one heading in its main landmark, and a banner', () => {
    expect(named(elements, 'html')[0]?.attributes).toMatchObject({ lang: 'en' })
    expect(named(elements, 'title')[0]?.text).toMatch(/^\S.* – Mintmark$/)
    expect(named(elements, 'main')).toHaveLength(1)
    expect(named(elements, 'header')).toHaveLength(1)
    const headings = named(elements, 'h1')
    expect(headings).toHaveLength(1)
    expect(headings.every((heading) => isInside(heading, 'main'))).toBe(true)
  })

  test('gives each id once, and refers only to ids that are there', () => {
    const ids = elements.map(({ attributes }) => attributes.id).filter((id) => id !== undefined)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { attributes } of elements) {
      const references = [attributes.for, ...(attributes['aria-describedby']?.split(' ') ?? [])]
      for (const id of references.filter((each) => each !== undefined)) expect(ids).toContain(id)
    }
  })

  test('labels each field, and says what autofill may put there', () => {
    const labelled = named(elements, 'label').map(({ attributes }) => attributes.for)
    for (const { attributes } of named(elements, 'input')) {
      if (attributes.type === 'hidden') continue
      expect(labelled).toContain(attributes.id)
      expect(attributes.autocomplete).toMatch(
        /^(username|current-password|new-password|one-time-code)$/,
      )
    }
  })

  test('sends forms by POST only, with buttons that say what they do', () => {
    for (const { attributes } of named(elements, 'form')) expect(attributes.method).toBe('post')
    for (const { attributes, text } of named(elements, 'button')) {
      expect(attributes.type).toBe('submit')
      expect(text.trim()).not.toBe('')
    }
    const hasForm = named(elements, 'form').length > 0
    expect(page.csp.includes("form-action 'none'")).toBe(!hasForm)
  })

  test('contains only what its policy allows, and asks nobody for anything', () => {
    const [style, ...more] = named(elements, 'style')
    expect(more).toEqual([])
    expect(page.csp).toContain(`style-src ${hashSource(style?.text ?? '')};`)
    expect(named(elements, 'script')).toEqual([])
    expect(page.csp).not.toContain('script-src')
    for (const element of elements) {
      for (const attribute of Object.keys(element.attributes)) {
        expect(attribute).not.toMatch(/^(on.*|style|src|srcset|formaction|background|ping)$/)
      }
    }
    for (const { attributes } of named(elements, 'link')) expect(attributes.href).toMatch(/^data:/)
    for (const { attributes } of named(elements, 'a'))
      expect(attributes.href).toMatch(/^\/(oauth2|account|device|docs)(\/|$)/)
  })
})

/** Tags and attribute names in their order: what text from elsewhere must never change. */
function structure(page: Page): string {
  const tags = parse(page.html).map(({ name, attributes }) => `${name} ${Object.keys(attributes)}`)
  return tags.join('\n')
}

const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.constantFrom(
        ...['</title>', '</style>', '<script>', '-->', '">', "'>", ' onload=', '&lt;', '&#39;'],
        ...['javascript:', '\u202e', '\u2066', '\u0000', '\r\n', '\u2028', '`', '${', '{{', '\\'],
      ),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => `~${parts.join('')}`)

test('text from elsewhere changes neither the structure nor the policy of any page', () => {
  const plain = everyPage('~')
  fc.assert(
    fc.property(hostile, (text) => {
      for (const [name, page] of Object.entries(everyPage(text))) {
        expect(structure(page), name).toBe(structure(plain[name] ?? page))
        expect(page.csp, name).toBe(plain[name]?.csp)
      }
    }),
    { numRuns: 60 },
  )
})

test('text from elsewhere is shown without anything that hides or reorders', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      for (const [name, { html }] of Object.entries(everyPage(text))) {
        const body = parse(html).find((element) => element.name === 'html')
        const words = body?.text.replaceAll('\n', '') ?? ''
        expect(words, name).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}]/u)
      }
    }),
    { numRuns: 60 },
  )
})

test('text from elsewhere stands apart, so that its direction moves nothing of ours', () => {
  const marker = '~marked~'
  const count = (elements: Element[]) =>
    elements.reduce((sum, { text }) => sum + text.split(marker).length - 1, 0)
  for (const [name, { html }] of Object.entries(everyPage(marker))) {
    const elements = parse(html)
    expect(count(named(elements, 'bdi')), name).toBe(count(named(elements, 'body')))
  }
})

test('a form sends back exactly what it was given', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const client = { name: 'TV', clientId: 'tv' }
      const asked = { ...device, shownCode: text, client, ip: undefined, userAgent: undefined }
      const page = deviceConfirmPage({ ...asked, userCode: text })
      expect(sent(page).user_code).toBe(text)
    }),
  )
})

describe('login', () => {
  test('sends the token, the name and the password, or that it is cancelled', () => {
    const page = loginPage({ ...login, username: 'alice' })
    expect(page.status).toBe(200)
    expect(sent(page)).toEqual({ csrf: 'csrf-1', username: 'alice', password: '' })
    expect(buttons(page)).toEqual([
      ['', '', 'Sign in'],
      ['action', 'cancel', 'Cancel'],
    ])
    expect(page.csp).toContain("form-action 'self' https:;")
  })

  test('without a client there is nothing to cancel', () => {
    expect(buttons(loginPage({ ...login, clientName: undefined }))).toHaveLength(1)
  })

  test('a failure is announced and tied to the fields, and no password comes back', () => {
    const page = loginPage({
      ...login,
      username: 'alice',
      error: 'The name or the password is wrong.',
    })
    const elements = parse(page.html)
    expect(page.status).toBe(400)
    expect(elements.find(({ attributes }) => attributes.role === 'alert')?.text).toContain(
      'The name or the password is wrong.',
    )
    for (const id of ['username', 'password']) {
      const field = elements.find(({ attributes }) => attributes.id === id)
      expect(field?.attributes).toMatchObject({
        'aria-describedby': 'problem',
        'aria-invalid': 'true',
      })
    }
    expect(sent(page).password).toBe('')
    expect(loginPage({ ...login, error: 'Too many.', status: 429 }).status).toBe(429)
  })

  test('a new password is asked twice, as long as the rule for passwords wants it', () => {
    const elements = parse(
      loginPage({ ...login, step: 'new_password', error: 'Short.', wrongField: 'new_password' })
        .html,
    )
    const inputs = named(elements, 'input').map(({ attributes }) => attributes)
    expect(inputs.map(({ name }) => name)).toEqual([
      ...['csrf', 'username', 'password', 'new_password', 'new_password_again'],
    ])
    const [wrong, ...others] = inputs.filter((input) => input['aria-invalid'] === 'true')
    expect(others).toEqual([])
    expect(wrong).toMatchObject({
      minlength: '15',
      'aria-describedby': 'problem new_password-hint',
    })
    const phrase = 'kayak violet tr'
    expect(() => checkNewPassword(phrase, { username: 'alice' })).not.toThrow()
    expect(() => checkNewPassword(phrase.slice(1), { username: 'alice' })).toThrow('15')
  })
})

describe('consent', () => {
  const text = (model: ConsentModel) =>
    named(parse(consentPage(model).html), 'main')[0]?.text.replaceAll(/\s+/g, ' ')

  test('names the client, the user, what is asked, where it goes and for how long', () => {
    const words = text({ ...consent, scopes: ['openid', 'groups', 'reports:read'] })
    for (const word of [
      ...['Give Example Dashboard access?', 'Signed in as alice', 'dashboard', 'app.example.com'],
      ...['See which groups you are in', 'reports:read', 'https://api.example.com', '1 hour'],
      'until you sign out at the latest',
    ]) {
      expect(words).toContain(word)
    }
    expect(words).not.toContain('Already allowed')
  })

  test('sends the decision', () => {
    expect(buttons(consentPage(consent))).toEqual([
      ['decision', 'switch', 'Use another account'],
      ['decision', 'allow', 'Allow'],
      ['decision', 'deny', 'Deny'],
    ])
    expect(sent(consentPage(consent), { decision: 'allow' })).toEqual({
      csrf: 'csrf-1',
      decision: 'allow',
    })
  })

  test.each(['mintmark', 'goauthentik.io/api'])('warns first of all of %s', (scope) => {
    const words = text({ ...consent, scopes: ['openid', scope] }) ?? ''
    expect(words).toContain('This is full access to this server.')
    expect(words.indexOf('Do everything on this server')).toBeLessThan(words.indexOf('openid'))
    expect(text(consent)).not.toContain('full access')
  })

  test('says how long access goes on while the user is away', () => {
    const words = text({ ...consent, scopes: ['offline_access'] })
    expect(words).toContain('act for you while you are away, for 30 days or until you withdraw it')
    expect(words).toContain('renewed while you are away')
  })

  test('tells the new from what was allowed before', () => {
    const words = text({
      ...consent,
      scopes: ['email'],
      allowed: { scopes: ['openid'], resources: [] },
    })
    expect(words).toMatch(/more access\?.*New: .*email.*Already allowed.*openid/)
  })

  test.each([
    ['https://app.example.com:8443/cb', 'Goes back toapp.example.com:8443'],
    ['http://app.example.com/cb', 'Goes back tohttp://app.example.com'],
    ['http://127.0.0.1:49152/cb', 'a program on this computer, 127.0.0.1:49152'],
    ['http://[::1]:49152/cb', 'a program on this computer, [::1]:49152'],
    ['http://127.0.0.1.example.com/cb', 'Goes back tohttp://127.0.0.1.example.com'],
    ['https://alice@app.example.com/cb', 'Goes back toapp.example.com'],
    ['https://аpp.example.com/cb', 'Goes back toxn--pp-6kc.example.com'],
    ['com.example.app:/cb', 'an app on this device, com.example.app:'],
  ])('shows who gets the answer at %s', (redirectUri, words) => {
    expect(text({ ...consent, redirectUri })).toContain(words)
  })

  test('lets the browser go on to the application', () => {
    expect(consentPage(consent).csp).toContain("form-action 'self' https:;")
    expect(consentPage({ ...consent, redirectUri: 'com.example.app:/cb' }).csp).toContain(
      "form-action 'self' com.example.app:;",
    )
    expect(consentPage({ ...consent, redirectUri: undefined }).csp).toContain("form-action 'self';")
  })
})

describe('devices', () => {
  test('the code is asked for, and kept when it was wrong', () => {
    const page = deviceCodePage({ ...device, userCode: 'WDJB-MJHT', problem: 'expired' })
    expect(page.status).toBe(400)
    expect(page.html).toContain('This code is too old.')
    expect(sent(page)).toEqual({ xsrf: 'xsrf-1', user_code: 'WDJB-MJHT' })
    expect(deviceCodePage({ ...device, charset: 'digits' }).html).toContain('inputmode="numeric"')
  })

  test('each problem says what to do', () => {
    for (const problem of ['missing', 'not_found', 'expired', 'used', 'failed'] as const) {
      const alert = parse(deviceCodePage({ ...device, problem }).html).find(
        ({ attributes }) => attributes.role === 'alert',
      )
      expect(alert?.text, problem).toMatch(/enter/i)
    }
    const refused = deviceCodePage({ ...device, problem: 'aborted' })
    expect(refused.status).toBe(200)
    expect(named(parse(refused.html), 'form')).toEqual([])
  })

  test('the confirmation sends the code as it was typed, with yes or no', () => {
    const page = deviceConfirmPage({
      ...device,
      userCode: 'wdjb mjht',
      shownCode: 'WDJB-MJHT',
      client: consent.client,
      ip: '203.0.113.7',
      userAgent: `example/1 ${'x'.repeat(5000)}`,
    })
    expect(sent(page)).toEqual({ xsrf: 'xsrf-1', user_code: 'wdjb mjht' })
    expect(buttons(page)).toEqual([
      ['confirm', 'yes', 'Yes, continue'],
      ['abort', 'yes', 'No, refuse'],
    ])
    expect(page.html).toContain('203.0.113.7')
    expect(page.html.length).toBeLessThan(12_000)
  })
})

describe('the others', () => {
  test('logging out sends logout=yes, and staying sends nothing but the token', () => {
    const page = logoutPage({
      action: '/oauth2/session/end/confirm',
      xsrf: 'xsrf-1',
      clientName: undefined,
      username: undefined,
      leadsTo: ['https://app.example.com/bye'],
    })
    expect(sent(page)).toEqual({ xsrf: 'xsrf-1' })
    expect(buttons(page)).toEqual([
      ['logout', 'yes', 'Sign out'],
      ['', '', 'Stay signed in'],
    ])
    expect(page.csp).toContain("form-action 'self' https:;")
  })

  test.each([400, 403, 404, 429, 500, 503])(
    'an error %d says what to do, and links nowhere',
    (status) => {
      const page = errorPage({
        status,
        code: 'invalid_request',
        description: 'see https://evil.example/',
        requestId: 'request-1',
      })
      const elements = parse(page.html)
      expect(page.status).toBe(status)
      expect(named(elements, 'a')).toEqual([])
      expect(named(elements, 'main')[0]?.text).toMatch(/invalid_request[\s\S]*request-1/)
    },
  )

  test('each grant can be withdrawn by a button of its own', () => {
    const page = grantsPage(grants)
    const ids = named(parse(page.html), 'input')
      .filter(({ attributes }) => attributes.name === 'client')
      .map(({ attributes }) => attributes.value)
    expect(ids).toEqual(['grant-1', 'grant-2'])
    expect(buttons(page).map(([, , text]) => text)).toEqual([
      'Withdraw what Client 1 may do',
      'Withdraw what Client 2 may do',
    ])
    for (const words of ['2 Jan 2026, 03:04 UTC', '2 Feb 2026, 03:04 UTC', 'never', 'Next page']) {
      expect(page.html).toContain(words)
    }
    expect(page.html).toContain('datetime="2026-01-02T03:04:00.000Z"')
  })
})
