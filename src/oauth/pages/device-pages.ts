import { attributes, html } from './html.ts'
import { type Page, page } from './page.ts'
import { facts, field, hidden, problem, type ShownClient, shown, shownCode } from './parts.ts'
import { shortened } from './visible.ts'

const LONGEST_USER_AGENT = 200

/** Why a user code led nowhere; `failed` is everything that is not about the code. */
export type DeviceProblem = 'missing' | 'not_found' | 'expired' | 'used' | 'aborted' | 'failed'

export interface DeviceCodeModel {
  /** Where the form goes; gets `xsrf` and `user_code`. */
  action: string
  xsrf: string
  charset: 'letters' | 'digits'
  /** What was typed before. */
  userCode?: string | undefined
  problem?: DeviceProblem | undefined
}

const PROBLEMS: Readonly<Record<DeviceProblem, string>> = {
  missing: 'Enter the code that your device shows.',
  not_found: 'There is no such code. Compare it with your device and enter it again.',
  expired: 'This code is too old. Let your device show a new one and enter that.',
  used: 'This code has been used. Let your device show a new one and enter that.',
  aborted: 'You refused: the device gets no access.',
  failed:
    'That did not work, perhaps because the page stood open for too long. Enter the code again.',
}

/** Asks for the code that a device shows (RFC 8628, section 3.3). */
export function deviceCodePage(model: DeviceCodeModel): Page {
  if (model.problem === 'aborted') return deviceRefusedPage(model)
  const sentence = model.problem === undefined ? undefined : PROBLEMS[model.problem]
  const isAsText = model.charset === 'letters'
  return page({
    status: sentence === undefined ? 200 : 400,
    title: sentence === undefined ? 'Connect a device' : 'Problem: Connect a device',
    leadsTo: [],
    body: html`<h1>Connect a device</h1>
<p class="lead">A device or program that you use asks for access and shows you a code.</p>
${problem(sentence)}
<form${attributes({ method: 'post', action: model.action })}>
${hidden({ xsrf: model.xsrf })}
${field({
  name: 'user_code',
  label: 'Code',
  type: 'text',
  autocomplete: 'one-time-code',
  hint: isAsText ? 'Small letters and missing hyphens are fine.' : 'Digits only; spaces are fine.',
  value: model.userCode,
  isWrong: sentence !== undefined,
  isFocused: true,
  extra: {
    class: 'code',
    inputmode: isAsText ? 'text' : 'numeric',
    autocapitalize: 'characters',
    spellcheck: 'false',
  },
})}
<div class="actions"><button type="submit" class="primary">Continue</button></div>
</form>
<p class="note">Never enter a code that somebody sent you: whoever sent it would get in as you.</p>`,
  })
}

function deviceRefusedPage({ action }: DeviceCodeModel): Page {
  return page({
    title: 'Access refused',
    body: html`<h1>Access refused</h1>
<div class="box danger" role="alert"><p>${PROBLEMS.aborted}</p></div>
<p>You can close this page, or <a href="${action}">enter another code</a>.</p>`,
  })
}

export interface DeviceConfirmModel {
  /** Where the form goes; gets `xsrf`, `user_code`, and `confirm=yes` or `abort=yes`. */
  action: string
  xsrf: string
  /** What was typed, sent back as it is. */
  userCode: string
  /** The same as the device shows it. */
  shownCode: string
  client: ShownClient
  /** Where the device asked from. */
  ip: string | undefined
  userAgent: string | undefined
}

/** Makes sure that the user has the device at hand before signing in for it (RFC 8628, section 5.4). */
export function deviceConfirmPage(model: DeviceConfirmModel): Page {
  return page({
    title: 'Is this your device?',
    leadsTo: [],
    body: html`<h1>Is this your device?</h1>
<p class="lead">It asks for access through <strong>${shown(model.client.name)}</strong>. Compare the code with the one that it shows:</p>
<p class="usercode"><code>${shown(model.shownCode)}</code></p>
<form${attributes({ method: 'post', action: model.action })}>
${hidden({ xsrf: model.xsrf, user_code: model.userCode })}
${facts([
  ['Client id', shownCode(model.client.clientId)],
  ['Asked from', model.ip === undefined ? undefined : shownCode(model.ip)],
  [
    'By',
    model.userAgent === undefined
      ? undefined
      : shown(shortened(model.userAgent, LONGEST_USER_AGENT)),
  ],
])}
<div class="actions">
<button type="submit" class="primary" name="confirm" value="yes">Yes, continue</button>
<button type="submit" name="abort" value="yes">No, refuse</button>
</div>
</form>
<p class="note">Refuse when the codes differ, when you did not begin this yourself just now, or when somebody sent you here.</p>`,
  })
}

/** The end of it: the rest happens on the device. */
export function deviceDonePage({ clientName }: { clientName: string }): Page {
  return page({
    title: 'Device connected',
    body: html`<h1>Device connected</h1>
<div class="box good" role="status"><p>${shown(clientName)} has access now. Go on at your device.</p></div>
<p>You can close this page.</p>`,
  })
}
