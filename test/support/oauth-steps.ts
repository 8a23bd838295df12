import { expect } from 'vitest'
import type { Browser, Page } from './browser.ts'
import {
  begin,
  goThrough,
  type OauthServer,
  PASSWORD,
  type RegisteredClient,
  type Request,
} from './oauth.ts'

export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export type Parameters = Record<string, string | undefined>

/** A client's request in a browser, as far as it gets by itself: to a page of ours, or back at the client. */
export async function ask(
  browser: Browser,
  { config }: Pick<RegisteredClient, 'config'>,
  parameters: Parameters = {},
): Promise<{ request: Request; page: Page }> {
  const request = await begin(config, parameters)
  return { request, page: await browser.open(request.url) }
}

/** The code that a client gets, with what it needs to redeem it. */
export async function codeFor(
  oauth: OauthServer,
  registered: RegisteredClient,
  {
    browser = oauth.browser(),
    parameters = {},
  }: { browser?: Browser; parameters?: Parameters } = {},
): Promise<{ code: string; request: Request; callback: URL }> {
  const { request, page } = await ask(browser, registered, parameters)
  const { url } = await goThrough(browser, page)
  const code = url.searchParams.get('code')
  if (code === null) throw new Error(`There is no code in ${url}.`)
  oauth.server.remember(code)
  return { code, request, callback: url }
}

/** A browser in which somebody has logged in, before any client asked. */
export async function openLoggedIn(oauth: OauthServer, username = 'alice'): Promise<Browser> {
  const browser = oauth.browser()
  const page = await browser.open('/account/grants')
  const { status } = await browser.submit(page, { username, password: PASSWORD })
  expect(status).toBe(200)
  return browser
}

export const asksForPassword = ({ text }: Page): boolean => text.includes('name="password"')
export const asksForConsent = ({ text }: Page): boolean => text.includes('name="decision"')

/** A page that says no: whoever sent the browser here does not get it back. */
export function expectErrorPage(page: Page, error?: string, about = ''): void {
  expect(page.trail, about).toEqual([page.status])
  expect(page.status, about).toBeGreaterThanOrEqual(400)
  expect(page.status, about).toBeLessThan(500)
  expect(page.headers.get('content-type'), about).toContain('text/html')
  expect(page.headers.get('location'), about).toBeNull()
  if (error !== undefined) expect(page.text, about).toContain(error)
}

/** The error in an answer to a client, which must say whose answer it is (RFC 9207). */
export function expectRefused(page: Page, oauth: OauthServer, error: string): URLSearchParams {
  const { searchParams } = page.url
  expect(Object.fromEntries(searchParams)).toMatchObject({ error, iss: oauth.issuer })
  expect(searchParams.has('code')).toBe(false)
  return searchParams
}

/** The text of a page as a person reads it. */
export function readable({ text }: Page): string {
  return text
    .replace(/<style>.*?<\/style>/gs, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
}
