import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deviceConfirmPage } from '../../src/oauth/pages/device-pages.ts'
import { loginPage } from '../../src/oauth/pages/login-page.ts'
import type { Page } from '../../src/oauth/pages/page.ts'

const AWKWARD = `a"b'c<d>&amp;é🙂\u202e%00+ ;,=`

const client = { name: AWKWARD, clientId: AWKWARD }
const pages: Record<string, Page> = {
  '/login': loginPage({
    action: '/posted',
    csrf: AWKWARD,
    clientName: AWKWARD,
    step: 'sign_in',
    username: AWKWARD,
    error: AWKWARD,
    leadsTo: [
      `https://app.example.com/${AWKWARD}`,
      AWKWARD,
      "https://a;script-src 'unsafe-inline'",
    ],
  }),
  '/device': deviceConfirmPage({
    action: '/posted',
    xsrf: AWKWARD,
    userCode: AWKWARD,
    shownCode: AWKWARD,
    client,
    ip: AWKWARD,
    userAgent: AWKWARD,
  }),
}

let server: Server
let origin: string

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const page = pages[request.url ?? '']
    if (page === undefined) {
      response.end(await postedFields(request))
      return
    }
    response.writeHead(page.status, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': page.csp,
    })
    response.end(page.html)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())

async function postedFields(request: IncomingMessage): Promise<string> {
  return JSON.stringify([...new URLSearchParams(await text(request))])
}

/** What a browser without scripts sends when the first button is pressed. */
function formOf(markup: string): URLSearchParams {
  const values = new URLSearchParams()
  for (const [tag] of markup.matchAll(/<input[^>]*>|<button[^>]*>/g)) {
    const name = attribute(tag, 'name')
    if (name !== undefined) values.append(name, attribute(tag, 'value') ?? '')
    if (tag.startsWith('<button')) break
  }
  return values
}

function attribute(tag: string, name: string): string | undefined {
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' }
  return new RegExp(` ${name}="([^"]*)"`)
    .exec(tag)?.[1]
    ?.replaceAll(/&(lt|gt|quot|#39|amp);/g, (_, entity: string) => entities[entity] ?? '')
}

test.each([
  [
    '/login',
    400,
    [
      ['csrf', AWKWARD],
      ['username', AWKWARD],
      ['password', ''],
    ],
  ],
  [
    '/device',
    200,
    [
      ['xsrf', AWKWARD],
      ['user_code', AWKWARD],
      ['confirm', 'yes'],
    ],
  ],
] as const)(
  'the form at %s brings back over HTTP what went into it',
  async (path, status, fields) => {
    const response = await fetch(origin + path)
    expect(response.status).toBe(status)
    const answer = await fetch(`${origin}/posted`, {
      method: 'POST',
      body: formOf(await response.text()),
    })
    expect(await answer.json()).toEqual(fields)
  },
)

test.each(Object.keys(pages))(
  'the policy of %s is a header that nothing was smuggled into',
  async (path) => {
    const { headers } = await fetch(origin + path)
    const policy = headers.get('content-security-policy') ?? ''
    const directives = policy.split(';').map((each) => each.trim().split(' ')[0])
    expect(directives).toEqual([
      ...['default-src', 'style-src', 'img-src', 'form-action', 'frame-ancestors', 'base-uri'],
    ])
    expect(policy).not.toMatch(/,|unsafe|\*/)
  },
)
