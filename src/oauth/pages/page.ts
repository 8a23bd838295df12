import { contentSecurityPolicy } from './csp.ts'
import { attributes, type Html, html, markupOf, rawElement } from './html.ts'
import { STYLE } from './style.ts'

/** A finished page, and the `Content-Security-Policy` it must be sent with. */
export interface Page {
  status: number
  html: string
  csp: string
}

export interface PageParts {
  status?: number | undefined
  title: string
  /** Begins with the one `h1`. */
  body: Html
  isWide?: boolean
  /** Where a form of the page may end up besides this server; leave out without a form. */
  leadsTo?: readonly string[]
}

const ICON = html`<link rel="icon" href="data:image/svg+xml,%3Csvg%20xmlns=%22http://www.w3.org/2000/svg%22%20viewBox=%220%200%2040%2040%22%20fill=%22none%22%20stroke=%22%2314996b%22%20stroke-width=%224%22%3E%3Ccircle%20cx=%2220%22%20cy=%2220%22%20r=%2217%22/%3E%3Cpath%20d=%22M12%2028V14l8%208%208-8v14%22/%3E%3C/svg%3E">`

const LOGO = html`<svg viewBox="0 0 40 40" fill="none" stroke="currentColor" stroke-width="3" aria-hidden="true" focusable="false"><circle cx="20" cy="20" r="16"/><path d="M12 27V14l8 8 8-8v13"/></svg>`

/** The document around a page: nothing in it asks another server for anything. */
export function page({ status = 200, title, body, isWide = false, leadsTo }: PageParts): Page {
  const head = html`<meta charset="utf-8">
<title>${title} – Mintmark</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">`
  const document = html`<html lang="en" dir="ltr">
<head>
${head}
${ICON}
${rawElement('style', STYLE)}
</head>
<body${attributes({ class: isWide && 'wide' })}>
<header>${LOGO}<span>Mintmark</span></header>
<main>
${body}
</main>
</body>
</html>
`
  return {
    status,
    html: `<!doctype html>\n${markupOf(document)}`,
    csp: contentSecurityPolicy({ style: STYLE, leadsTo }),
  }
}
