import type { Argument, Command, Option } from 'commander'
import { examplesOf } from '../command.ts'
import type { Terminal } from '../terminal.ts'

/** Prints docs/reference/cli.md. Hidden: it is for `npm run docs:cli`. */
export function helpMarkdownCommand(program: Command, terminal: Terminal): void {
  program.command('help-markdown', { hidden: true }).action(() => {
    terminal.stdout.write(page(program))
  })
}

function page(program: Command): string {
  const shown = commandsOf(program)
  return `${[
    '# The command line',
    '',
    '<!-- Printed by `npm run docs:cli` from src/cli. Do not edit. -->',
    '',
    'From a checkout: `npx mintmark …`. `serve`, `config`, `audit verify`, `keys rewrap` and `admin` work',
    'on this machine with the [settings](config.md) of the server, `scan` without any server; all other',
    'commands speak to a server.',
    '',
    '## Which server, whose token',
    '',
    '`MINTMARK_URL` says where the server is (default `http://127.0.0.1:8080`). `MINTMARK_TOKEN`, or the',
    'file that `MINTMARK_TOKEN_FILE` names, holds the token to use; `mintmark login` gets one.',
    '',
    '## What commands print',
    '',
    '- The answer goes to stdout, everything else to stderr. Where the answer is a secret, stdout has the',
    '  secret alone: `TOKEN="$(mintmark token create ci)"`.',
    '- With `--json` stdout is exactly one JSON document, and an error is `{"error":{"code",…}}` on',
    '  stderr. Without it, control characters in names and texts are spelled out, such as `\\u{1b}`.',
    '- Users and groups are given by name or id, clients by client id or id, tokens and grants by id. Times',
    '  are UTC.',
    '- `NO_COLOR` switches colours off; there are none when the output is not a terminal.',
    '',
    '| exit status | meaning |',
    '| --- | --- |',
    '| 0 | done; for `token verify` active, for `audit verify` intact, for `scan` none found |',
    '| 1 | refused or failed; not active; broken; for `scan` found, and nothing else |',
    '| 2 | wrong usage, or problems in the configuration |',
    '| 3 | for `scan`: none found, but something could not be read |',
    '| 130 | stopped with Ctrl-C at a question |',
    '',
    '## Commands',
    '',
    ...shown.map(
      (command) => `- [\`${pathOf(command)}\`](#${anchorOf(command)}): ${command.summary()}`,
    ),
    '',
    ...shown.flatMap(section),
  ]
    .join('\n')
    .trimEnd()}\n`
}

/** The commands that do something, in order. */
function commandsOf(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help')
    .flatMap((child) => (child.commands.length === 0 ? [child] : commandsOf(child)))
}

function section(command: Command): string[] {
  const options = command.options.filter((option) => !option.hidden)
  const examples = examplesOf(command)
  return [
    `### ${pathOf(command)}`,
    '',
    command.description(),
    '',
    '```',
    `${pathOf(command)} ${command.usage()}`,
    '```',
    '',
    ...table('argument', command.registeredArguments.map(argumentRow)),
    ...table('option', options.map(optionRow)),
    ...(examples.length === 0 ? [] : ['```sh', ...examples, '```', '']),
  ]
}

function table(what: string, rows: string[]): string[] {
  return rows.length === 0 ? [] : [`| ${what} | meaning |`, '| --- | --- |', ...rows, '']
}

function argumentRow(argument: Argument): string {
  return row(argument.name(), argument.description)
}

function optionRow({ flags, description, defaultValue }: Option): string {
  const standard = typeof defaultValue === 'string' ? ` (default: ${defaultValue})` : ''
  return row(flags, description + standard)
}

function row(name: string, meaning: string): string {
  return `| \`${name}\` | ${meaning.replaceAll('|', '\\|')} |`
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}

function anchorOf(command: Command): string {
  return pathOf(command).replaceAll(' ', '-')
}
