/** A browser without scripts: keeps cookies, follows redirects, fills in forms. */
export interface Browser {
  /** Goes to a URL of the server; stops at the first page, or at the first URL that is not the server's. */
  open(url: string | URL): Promise<Page>
  /** Sends the page's form with these fields filled in, and follows where it leads. */
  submit(page: Page, fields: Record<string, string>): Promise<Page>
  cookies: Map<string, string>
  /** Headers of every request, such as `user-agent`. */
  headers: Record<string, string>
}

export interface Page {
  /** Where it ended: outside of the server there is only this. */
  url: URL
  status: number
  text: string
  headers: Headers
  /** Statuses of the answers that led here. */
  trail: number[]
  /** What a form carries out of the server. */
  posted?: URLSearchParams
}

const MAX_HOPS = 20

export function openBrowser(origin: string): Browser {
  const jar = new Map<string, { value: string; path: string }>()
  const headers: Record<string, string> = {}

  async function request(url: URL, init: RequestInit): Promise<Response> {
    const cookie = [...jar]
      .filter(([, { path }]) => url.pathname.startsWith(path))
      .map(([key, { value }]) => `${key.split('|')[0]}=${value}`)
      .join('; ')
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      headers: { accept: 'text/html', ...headers, ...init.headers, ...(cookie ? { cookie } : {}) },
    })
    for (const header of response.headers.getSetCookie()) keep(header)
    return response
  }

  function keep(header: string): void {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? []
    const path = /;\s*path=([^;]+)/i.exec(header)?.[1] ?? '/'
    const expires = /;\s*expires=([^;]+)/i.exec(header)?.[1]
    const isOver = /;\s*max-age=0/i.test(header) || (expires && Date.parse(expires) < Date.now())
    if (isOver || value === '') jar.delete(`${name}|${path}`)
    else jar.set(`${name}|${path}`, { value, path })
  }

  async function follow(url: URL, init: RequestInit): Promise<Page> {
    const trail: number[] = []
    let at = url
    let next = init
    for (let hop = 0; hop < MAX_HOPS; hop++) {
      if (at.origin !== origin) {
        const posted = next.body instanceof URLSearchParams ? { posted: next.body } : {}
        return { url: at, status: 0, text: '', headers: new Headers(), trail, ...posted }
      }
      const response = await request(at, next)
      trail.push(response.status)
      const location = response.headers.get('location')
      if (location === null) {
        const page = {
          url: at,
          status: response.status,
          text: await response.text(),
          headers: response.headers,
          trail,
        }
        // A form that sends itself, where scripts run; without them, a person presses its one button.
        if (page.text.includes('document.forms[0].submit()')) return send(page, {}, trail)
        return page
      }
      at = new URL(location, at)
      next = { method: 'GET' }
    }
    throw new Error(`Redirected more than ${MAX_HOPS} times, last to ${at}.`)
  }

  async function send(
    page: Page,
    fields: Record<string, string>,
    before: number[] = [],
  ): Promise<Page> {
    const form = formOf(page.text)
    const body = new URLSearchParams({ ...form.hidden, ...fields })
    const target = new URL(form.action, page.url)
    const sent = await follow(target, {
      method: 'POST',
      body,
      headers: { origin: page.url.origin, 'sec-fetch-site': 'same-origin' },
    })
    return { ...sent, trail: [...before, ...sent.trail] }
  }

  return {
    open: (url) => follow(new URL(url, origin), { method: 'GET' }),
    submit: (page, fields) => send(page, fields),
    get cookies() {
      return new Map([...jar].map(([key, { value }]) => [key.split('|')[0] ?? '', value]))
    },
    headers,
  }
}

function formOf(html: string): { action: string; hidden: Record<string, string> } {
  const action = /<form[^>]*\baction="([^"]*)"/.exec(html)?.[1]
  if (action === undefined) throw new Error(`There is no form in: ${html.slice(0, 2000)}`)
  const hidden: Record<string, string> = {}
  for (const [input] of html.matchAll(/<input[^>]*type="hidden"[^>]*>/g)) {
    const name = /name="([^"]*)"/.exec(input)?.[1]
    if (name !== undefined) hidden[name] = unescaped(/value="([^"]*)"/.exec(input)?.[1] ?? '')
  }
  return { action: unescaped(action), hidden }
}

function unescaped(text: string): string {
  return text
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&amp;/g, '&')
}
