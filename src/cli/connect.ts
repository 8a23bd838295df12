import { readFileSync } from 'node:fs'
import { type Client, type ClientOptions, createClient } from '@mintmark/sdk'
import type { ChangeOption } from './change.ts'
import { CliError, WRONG_USAGE } from './failure.ts'
import type { Terminal } from './terminal.ts'

const DEFAULT_URL = 'http://127.0.0.1:8080'

/** A client of the server that MINTMARK_URL names, with the token of MINTMARK_TOKEN[_FILE]. */
export function connect(terminal: Terminal, { wait }: Pick<ChangeOption, 'wait'> = {}): Client {
  return connectTo(terminal, urlOf(terminal.env), {
    wait: typeof wait === 'string' ? wait : undefined,
    onAcknowledged: (found) => {
      terminal.acknowledgement = found
    },
  })
}

/** The same of another server, such as one node of several. */
export function connectTo(
  { env }: Terminal,
  url: string,
  changes: NonNullable<ClientOptions['changes']> = {},
): Client {
  const token = tokenOf(env)
  if (token === undefined) {
    throw new CliError(
      'no_token',
      'This needs a token. Set MINTMARK_TOKEN (or MINTMARK_TOKEN_FILE), or log in: mintmark login',
    )
  }
  return clientOf({ url, token, changes })
}

/** The same without a token, for logging in. */
export function connectWithoutToken({ env }: Terminal): Client {
  return clientOf({ url: urlOf(env) })
}

function clientOf(options: ClientOptions): Client {
  try {
    return createClient(options)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CliError('invalid_input', `MINTMARK_URL or MINTMARK_TOKEN: ${why}`, WRONG_USAGE)
  }
}

function urlOf(env: Terminal['env']): string {
  return given(env.MINTMARK_URL) ?? DEFAULT_URL
}

function tokenOf(env: Terminal['env']): string | undefined {
  const token = given(env.MINTMARK_TOKEN)
  const file = given(env.MINTMARK_TOKEN_FILE)
  if (token !== undefined && file !== undefined) {
    throw new CliError(
      'invalid_input',
      'MINTMARK_TOKEN and MINTMARK_TOKEN_FILE are both set. Set one of them.',
      WRONG_USAGE,
    )
  }
  return file === undefined ? token : given(contentOf(file))
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CliError('invalid_input', `MINTMARK_TOKEN_FILE cannot be read: ${why}.`)
  }
}

function given(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
