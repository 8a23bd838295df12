import { MintmarkError } from '@mintmark/sdk'
import { CommanderError } from 'commander'
import { ConfigError } from '../config.ts'
import { PointedRefusal } from './pointing.ts'
import { visible } from './text.ts'

export const REFUSED = 1
export const WRONG_USAGE = 2
export const INTERRUPTED = 130

/** A command that cannot go on. The message says what to do next. */
export class CliError extends Error {
  readonly code: string
  readonly exitStatus: number

  constructor(code: string, message: string, exitStatus = REFUSED) {
    super(message)
    this.name = 'CliError'
    this.code = code
    this.exitStatus = exitStatus
  }
}

/** The command line itself is wrong. */
export function wrongUsage(message: string): CliError {
  return new CliError('wrong_usage', message, WRONG_USAGE)
}

/** Ctrl-C at a question. */
export function interrupted(): CliError {
  return new CliError('interrupted', 'Stopped.', INTERRUPTED)
}

/** Anything thrown, as people and as scripts (`error` under --json) hear it. */
export interface Failure {
  exitStatus: number
  /** Where the mistake is, for people; below the message. */
  picture?: string
  error: {
    code: string
    message: string
    status?: number
    requestId?: string
    /** Where in the query the mistake is, from 1. */
    column?: number
    problems?: string[]
  }
}

/** Says what went wrong, whoever noticed it. */
export function failureOf(cause: unknown): Failure {
  if (cause instanceof CliError) {
    const { code, message, exitStatus } = cause
    return { exitStatus, error: { code, message } }
  }
  if (cause instanceof CommanderError) {
    const message = sentence(cause.message.replace(/^error: /, ''))
    return { exitStatus: WRONG_USAGE, error: { code: 'wrong_usage', message } }
  }
  if (cause instanceof PointedRefusal) {
    const { refusal: answer, picture } = cause
    return { exitStatus: REFUSED, error: refusal(answer), picture }
  }
  if (cause instanceof MintmarkError) return { exitStatus: REFUSED, error: refusal(cause) }
  if (cause instanceof ConfigError) {
    const { problems } = cause
    const message = `The configuration has problems:\n  - ${problems.join('\n  - ')}`
    return { exitStatus: WRONG_USAGE, error: { code: 'invalid_config', message, problems } }
  }
  return { exitStatus: REFUSED, error: unexpected(cause) }
}

function sentence(text: string): string {
  const closed = /[.?)]$/.test(text) ? text : `${text}.`
  return closed.charAt(0).toUpperCase() + closed.slice(1)
}

const WAYS: Readonly<Record<string, string>> = {
  network_failed: ' Is the server running? MINTMARK_URL says where it is.',
  unauthenticated: ' Set MINTMARK_TOKEN to a valid one, or log in: mintmark login',
  forbidden: ' Whose token is in use, and what it may do: mintmark whoami',
}

/** What the server refused, with the way out that only the command line knows. */
function refusal({ status, code, detail, requestId, column }: MintmarkError): Failure['error'] {
  return {
    code,
    message: visible(withoutPlace(detail)) + (WAYS[code] ?? wayToOthers(detail)),
    ...(status === 0 ? {} : { status }),
    ...(requestId === undefined ? {} : { requestId: visible(requestId) }),
    ...(column === undefined ? {} : { column }),
  }
}

/** `body/name must …`: where a value stood in the request is nothing that people have typed. */
function withoutPlace(detail: string): string {
  return detail.replace(/^(?:body|params|querystring|headers)\//, '')
}

/** Where to look for what there is. */
function wayToOthers(detail: string): string {
  const thing = /^There is no such (role|client|user|group|job|grant|webhook|rule)\b/.exec(
    detail,
  )?.[1]
  if (thing === undefined) return ''
  return ` See: mintmark ${thing === 'rule' ? 'policy rule' : thing} list`
}

/** Errors of the domain have a code and a message for people; the command line may not import them. */
function unexpected(cause: unknown): Failure['error'] {
  if (!(cause instanceof Error)) return { code: 'unexpected', message: String(cause) }
  const { name, message } = cause
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : 'unexpected'
  return name === 'CoreError' ? { code, message } : { code, message: `${name}: ${message}` }
}
