import type { Command } from 'commander'

const examples = new WeakMap<Command, readonly string[]>()

export interface Help {
  /** One line, for lists of commands. */
  summary: string
  /** What one should know besides; shown by --help and in the reference. */
  details?: string
  /** Command lines that work. */
  examples?: readonly string[]
}

/** A command that does something. All of them take --json and show examples. */
export function leaf(parent: Command, name: string, help: Help): Command {
  return explained(parent.command(name), help).option('--json', 'print one JSON document')
}

/** A command that only holds others. */
export function branch(parent: Command, name: string, summary: string): Command {
  return parent.command(name).summary(summary).description(`${summary}.`)
}

/** Gives a command its summary, description and examples. */
export function explained(command: Command, help: Help): Command {
  const lines = help.examples ?? []
  examples.set(command, lines)
  if (lines.length > 0) {
    command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`)
  }
  const details = help.details === undefined ? '' : `\n\n${help.details}`
  const end = help.summary.endsWith('?') ? '' : '.'
  return command.summary(help.summary).description(help.summary + end + details)
}

/** The examples that a command was explained with. */
export function examplesOf(command: Command): readonly string[] {
  return examples.get(command) ?? []
}

/** For options that are given several times. */
export function repeated(value: string, before: string[] = []): string[] {
  return [...before, value]
}
