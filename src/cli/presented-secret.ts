import { wrongUsage } from './failure.ts'
import { ask, linesOf } from './prompt.ts'
import type { Terminal } from './terminal.ts'

/**
 * The secret that a command is about: from the environment variable named, the argument, a hidden question,
 * or stdin. Throws when there is none.
 */
export async function presentedSecret(
  terminal: Terminal,
  { argument = '-', env }: { argument: string | undefined; env: string | undefined },
): Promise<string> {
  const secret = (await presented()).trim()
  if (secret !== '') return secret
  throw wrongUsage(
    env === undefined
      ? 'There is no secret to look at. Paste one when asked, or pipe it in.'
      : `The environment variable ${env} is not set here. Export it: export ${env}`,
  )

  async function presented(): Promise<string> {
    if (env !== undefined) return terminal.env[env] ?? ''
    if (argument !== '-') return argument
    if (terminal.stdin.isTTY) return ask(terminal, 'Secret', { hidden: true })
    return (await linesOf(terminal))[0] ?? ''
  }
}

/** The same for a command that takes several: an argument and a hidden question are one, stdin has one in each line. */
export async function presentedSecrets(
  terminal: Terminal,
  argument: string | undefined,
): Promise<string[]> {
  if ((argument ?? '-') !== '-' || terminal.stdin.isTTY) {
    return [await presentedSecret(terminal, { argument, env: undefined })]
  }
  const lines = (await linesOf(terminal)).map((line) => line.trim()).filter((line) => line !== '')
  if (lines.length > 0) return [...new Set(lines)]
  throw wrongUsage('There is no secret on stdin.')
}
