import { Argument, type Command } from 'commander'
import { explained } from '../command.ts'
import type { Terminal } from '../terminal.ts'

export function completionCommand(program: Command, terminal: Terminal): void {
  // Without --json: the answer is a program for a shell.
  explained(program.command('completion'), {
    summary: 'Print what makes a shell complete commands and options',
    details: 'Made from the commands that there are: print it anew after an upgrade.',
    examples: [
      'source <(mintmark completion bash)',
      'mintmark completion bash > ~/.local/share/bash-completion/completions/mintmark',
    ],
  })
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash']))
    .action(() => {
      terminal.stdout.write(bashScript(placesIn(program, [])))
    })
}

/** A command, by the words that lead to it, and what may follow them. */
interface Place {
  path: readonly string[]
  commands: readonly string[]
  options: readonly string[]
}

function placesIn(command: Command, path: readonly string[]): Place[] {
  const help = command.createHelp()
  const children = help.visibleCommands(command).filter((child) => child.name() !== 'help')
  const place = {
    path,
    commands: children.map((child) => child.name()),
    options: help.visibleOptions(command).flatMap(({ long }) => long ?? []),
  }
  return [place, ...children.flatMap((child) => placesIn(child, [...path, child.name()]))]
}

function bashScript(places: readonly Place[]): string {
  const paths = places.flatMap(({ path }) => (path.length === 0 ? [] : [`'${path.join(' ')}'`]))
  const cases = places.map(
    ({ path, commands, options }) =>
      `    '${path.join(' ')}') commands='${commands.join(' ')}' options='${options.join(' ')}' ;;`,
  )
  return `${[
    '# Completion of mintmark for bash, printed by `mintmark completion bash`.',
    '_mintmark() {',
    `  local path="" next i commands="" options="" current="\${COMP_WORDS[COMP_CWORD]}"`,
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    `    next="\${path:+$path }\${COMP_WORDS[i]}"`,
    `    case "$next" in ${paths.join(' | ')}) path="$next" ;; esac`,
    '  done',
    '  case "$path" in',
    ...cases,
    '  esac',
    '  [[ "$current" == -* ]] && commands="$options"',
    '  mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")',
    '}',
    'complete -o bashdefault -o default -F _mintmark mintmark',
  ].join('\n')}\n`
}
