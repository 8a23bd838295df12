import { type Command, CommanderError } from 'commander'
import { failureOf, WRONG_USAGE } from './failure.ts'
import { createProgram } from './program.ts'
import { note, type Terminal } from './terminal.ts'

const terminal: Terminal = {
  env: process.env,
  // Opened only by the commands that read it.
  get stdin() {
    return process.stdin
  },
  stdout: process.stdout,
  stderr: process.stderr,
  now: () => Date.now(),
}

/** `mintmark … | head` closes our output early; that is no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  throw error
})

const program = createProgram(terminal)
const words = process.argv.slice(2)
try {
  await program.parseAsync()
} catch (cause) {
  process.exitCode = report(cause)
}

/** Says what went wrong and returns the exit status. */
function report(cause: unknown): number {
  if (cause instanceof CommanderError && cause.exitCode === 0) return 0
  // Help in place of a command that was left out: it is on stderr already.
  if (cause instanceof CommanderError && cause.code === 'commander.help') return WRONG_USAGE
  const { exitStatus, error, picture } = failureOf(cause)
  if (words.includes('--json')) {
    note(terminal, JSON.stringify({ error }))
    return exitStatus
  }
  note(terminal, error.message)
  if (picture !== undefined) note(terminal, picture)
  if (error.code === 'wrong_usage') note(terminal, `See: ${commandPath(program, words)} --help`)
  return exitStatus
}

/** The command that was meant, as far as its words were right. */
function commandPath(command: Command, rest: string[]): string {
  const [word, ...others] = rest
  const next = command.commands.find((child) => child.name() === word)
  if (next === undefined) return command.name()
  return `${command.name()} ${commandPath(next, others)}`
}
