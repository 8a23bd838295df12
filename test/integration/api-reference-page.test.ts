import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer

beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.close())

const get = (url: string) => server.call('GET', url, { token: null })

function policyOf(header: unknown): Record<string, string[]> {
  const directives = String(header)
    .split(';')
    .map((directive) => directive.trim().split(/\s+/))
  return Object.fromEntries(directives.map(([name, ...sources]) => [name, sources]))
}

/** Everything that the page, and what it loads, refers to. */
function references(html: string): string[] {
  return [...html.matchAll(/(?:src|href|action)="([^"]*)"/g)].map(([, url]) => url ?? '')
}

test.each(['/docs', '/docs/'])('%s is a page whose parts all come from here', async (url) => {
  const page = await get(url)
  expect(page.status).toBe(200)
  expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
  expect(page.text).not.toMatch(/https?:|\/\/[a-z]/i)
  const parts = references(page.text)
  expect(parts.length).toBeGreaterThan(3)
  for (const part of parts) {
    const path = new URL(part, `http://here${url}`).pathname
    expect(path).toMatch(/^\/docs\/static\//)
    expect((await get(path)).status, path).toBe(200)
  }
})

test('no script is in the page, and none can be put there', async () => {
  const page = await get('/docs')
  expect(page.text).not.toMatch(/<script(?![^>]*src=)|\son\w+=|javascript:|<style|style=/i)
  const policy = policyOf(page.headers['content-security-policy'])
  expect(policy).toEqual({
    'default-src': ["'none'"],
    'script-src': ["'self'"],
    'style-src': ["'self'"],
    'img-src': ["'self'", 'data:'],
    'connect-src': ["'self'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"],
  })
})

test('the policy is on every file below it, and answers without scripts allow nothing', async () => {
  for (const path of ['swagger-ui.css', 'swagger-ui-bundle.js', 'swagger-initializer.js', 'x']) {
    const { headers } = await get(`/docs/static/${path}`)
    expect(String(headers['content-security-policy'])).not.toMatch(/unsafe|https?:|\*/)
    expect(headers['x-content-type-options']).toBe('nosniff')
  }
  const { headers } = await server.call('GET', '/api/v1/me')
  expect(policyOf(headers['content-security-policy'])['default-src']).toEqual(["'none'"])
  expect(headers).toMatchObject({
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cross-origin-opener-policy': 'same-origin',
  })
})

test('it reads the document of this server and asks no one else about it', async () => {
  const { text } = await get('/docs/static/swagger-initializer.js')
  expect(text).toContain('validatorUrl: null')
  expect(text).toContain("url: resolveUrl('./json')")
  const shown = await get('/docs/json')
  expect(shown.body).toEqual((await get('/api/openapi.json')).body)
})

test.each([
  '/docs/static/../../package.json',
  '/docs/static/..%2f..%2fpackage.json',
  '/docs/static/%2e%2e/%2e%2e/package.json',
  '/docs/static/....//package.json',
  '/docs/static/%00',
  '/docs/static//etc/passwd',
])('%s leads nowhere', async (url) => {
  const { status, text } = await get(url)
  expect([400, 403, 404]).toContain(status)
  expect(text).toContain('"requestId"')
})

test('over https, browsers are told to stay there', async () => {
  const secure = await startServer({ MINTMARK_PUBLIC_URL: 'https://tokens.example.org' })
  const { headers } = await secure.call('GET', '/docs', { token: null })
  expect(headers['strict-transport-security']).toBe('max-age=31536000; includeSubDomains')
  await secure.close()
  expect((await get('/docs')).headers['strict-transport-security']).toBeUndefined()
})
