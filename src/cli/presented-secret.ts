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
  throw wrongUsage('There is no secret to look at.')

  async function presented(): Promise<string> {
    if (env !== undefined) return terminal.env[env] ?? ''
    if (argument !== '-') return argument
    if (terminal.stdin.isTTY) return ask(terminal, 'Secret', { hidden: true })
    return (await linesOf(terminal))[0] ?? ''
  }
}
