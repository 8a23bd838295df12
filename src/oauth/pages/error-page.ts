import { html } from './html.ts'
import { type Page, page } from './page.ts'
import { facts, shown, shownCode } from './parts.ts'
import { shortened } from './visible.ts'

const LONGEST_DESCRIPTION = 500

export interface ErrorModel {
  status: number
  /** Heading; by the status unless given. */
  title?: string | undefined
  /** What OAuth calls `error`, or a code of ours. */
  code: string
  description: string | undefined
  requestId: string | undefined
  /** What to do now; by the status unless given. */
  next?: string | undefined
}

/** What went wrong. It links to nothing, because what went wrong may be the very URI. */
export function errorPage(model: ErrorModel): Page {
  const usual = usualWords(model.status)
  const title = model.title ?? usual.title
  return page({
    status: model.status,
    title,
    body: html`<h1>${shown(title)}</h1>
${
  model.description !== undefined &&
  html`<div class="box danger" role="alert"><p>${shown(shortened(model.description, LONGEST_DESCRIPTION))}</p></div>`
}
<p>${shown(model.next ?? usual.next)}</p>
${facts([
  ['Error', shownCode(model.code)],
  ['Request id', model.requestId === undefined ? undefined : shownCode(model.requestId)],
])}`,
  })
}

function usualWords(status: number): { title: string; next: string } {
  if (status === 403) {
    return {
      title: 'This is not allowed',
      next: 'If you need it, ask the administrator of this server and name the request id.',
    }
  }
  if (status === 404) {
    return {
      title: 'There is nothing here',
      next: 'The link may be old. Go back to where you came from and start again there.',
    }
  }
  if (status === 429) {
    return { title: 'Too many requests', next: 'Wait a few minutes, then try again.' }
  }
  if (status >= 500) {
    return {
      title: 'The server has a problem',
      next: 'It is not your fault. Try again in a few minutes; if it stays, give the administrator the request id.',
    }
  }
  return {
    title: 'This request did not work',
    next: 'Go back to the application and start again there. If it happens again, give its operator the error and the request id.',
  }
}
