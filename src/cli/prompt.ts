import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { MintmarkError } from '@mintmark/sdk'
import { CliError, interrupted, wrongUsage } from './failure.ts'
import { note, type Terminal } from './terminal.ts'
import { visible } from './text.ts'

/** Asks on the terminal; what is typed into a hidden question is not shown. */
export async function ask(
  { stdin, stderr }: Terminal,
  question: string,
  { hidden = false } = {},
): Promise<string> {
  if (!stdin.isTTY) {
    throw wrongUsage(`There is no terminal to ask for "${question}". See --help for other ways.`)
  }
  // Readline echoes through its output, so a hidden question gets one that swallows everything.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const readline = createInterface({
    input: stdin,
    output: hidden ? nowhere : stderr,
    terminal: true,
  })
  try {
    if (hidden) stderr.write(`${question}: `)
    const stopped = new Promise<never>((_, reject) => {
      readline.once('SIGINT', () => reject(interrupted()))
      readline.once('close', () => reject(interrupted()))
    })
    return await Promise.race([readline.question(hidden ? '' : `${question}: `), stopped])
  } finally {
    if (hidden) stderr.write('\n')
    readline.close()
  }
}

/**
 * Asks for a new password, twice, and uses it; asks again for as long as the two differ or the server wants
 * another.
 */
export async function chooseNewPassword<T>(
  terminal: Terminal,
  use: (password: string) => Promise<T>,
): Promise<T> {
  for (;;) {
    const first = await ask(terminal, 'New password (15 characters or more)', { hidden: true })
    const second = await ask(terminal, 'New password again', { hidden: true })
    if (first !== second) {
      note(terminal, 'The two differ. Once more:')
      continue
    }
    try {
      return await use(first)
    } catch (cause) {
      if (!(cause instanceof MintmarkError && cause.code === 'invalid_input')) throw cause
      note(terminal, visible(cause.detail))
    }
  }
}

/** Lets people think again before something cannot be undone; scripts say --yes. */
export async function confirm(
  terminal: Terminal,
  { yes = false, question }: { yes?: boolean | undefined; question: string },
): Promise<void> {
  if (yes) return
  if (!terminal.stdin.isTTY) throw wrongUsage(`${question} Say --yes to do it without a terminal.`)
  const reply = await ask(terminal, `${question} Type yes`)
  if (reply.trim().toLowerCase() !== 'yes') {
    throw new CliError('not_confirmed', 'Nothing was changed.')
  }
}

/** All lines of stdin, which must not be a terminal. */
export async function linesOf({ stdin }: Terminal): Promise<string[]> {
  let text = ''
  for await (const chunk of stdin.setEncoding('utf8')) text += String(chunk)
  return text.split(/\r?\n/)
}
