import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { describeSettings, type SettingHelp } from '../../config/settings.ts'
import { ConfigError, readConfig } from '../../config.ts'
import { leaf } from '../command.ts'
import { answer, type JsonOption } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

interface Setting extends SettingHelp {
  /** As the environment has it, or the default; undefined: not set. */
  value: string | undefined
  source: 'environment' | 'file' | 'default' | 'not set'
}

export function configCommand(program: Command, terminal: Terminal): void {
  leaf(program, 'config', {
    summary: 'Show every setting of the server, with its present value and where that comes from',
    details:
      'Checks the present environment as `mintmark serve` would, tells all problems at once and then ends with status 2. Secrets are shown as [secret].',
    examples: ['mintmark config', 'MINTMARK_PORT=9000 mintmark config --json'],
  })
    .option('--markdown', 'print the reference page instead')
    .action((options: JsonOption & { markdown?: boolean }) => {
      if (options.markdown === true) {
        terminal.stdout.write(settingsPage())
        return
      }
      const settings = describeSettings().map((setting) => present(setting, terminal.env))
      const problem = problemOf(terminal.env)
      answer(terminal, {
        ...options,
        document: { settings: settings.map(plain), problems: problem?.problems ?? [] },
        text: () => settings.map(paragraph).join('\n\n'),
      })
      if (problem !== undefined) throw problem
    })
}

function problemOf(env: Terminal['env']): ConfigError | undefined {
  try {
    readConfig({ env, readFile: (path) => readFileSync(path, 'utf8') })
    return undefined
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
}

function present(setting: SettingHelp, env: Terminal['env']): Setting {
  const direct = env[setting.name]
  const file = env[`${setting.name}_FILE`]
  if (file !== undefined) return { ...setting, value: file, source: 'file' }
  if (direct !== undefined && direct !== '') {
    return { ...setting, value: shownValue(setting, direct), source: 'environment' }
  }
  const source = setting.fallback === undefined ? 'not set' : 'default'
  return { ...setting, value: setting.fallback, source }
}

/** Passwords hide in addresses, too. */
function shownValue({ secret }: SettingHelp, text: string): string {
  return secret ? '[secret]' : text.replaceAll(/\/\/([^/@:\s]*):[^/@\s]*@/g, '//$1:[secret]@')
}

function plain({ name, value, source, fallback, secret, summary }: Setting) {
  return { name, value: value ?? null, source, default: fallback ?? null, secret, summary }
}

function paragraph({ name, value, source, fallback, summary }: Setting): string {
  const origin = {
    environment: fallback === undefined ? 'environment' : `environment; default: ${fallback}`,
    file: `read from this file, as ${name}_FILE says`,
    default: 'default',
    'not set': 'not set',
  }[source]
  const assigned = value === undefined || value === '' ? name : `${name} = ${visible(value)}`
  return `${assigned}  (${origin})\n    ${summary}`
}

function settingsPage(): string {
  const rows = describeSettings().map(({ name, fallback, secret, summary }) => {
    const standard = fallback === undefined || fallback === '' ? '' : `\`${fallback}\``
    return `| \`${name}\` | ${standard} | ${summary.replaceAll('|', '\\|')}${secret ? ' **Secret.**' : ''} |`
  })
  return `${[
    '# Settings',
    '',
    '<!-- Printed by `npm run docs:config` from src/config.ts. Do not edit. -->',
    '',
    'The server is configured by environment variables; none is needed. `mintmark config` shows the',
    'present values, where they come from, and all problems at once.',
    '',
    '## Values from files',
    '',
    'Each setting can also be given as `NAME_FILE`: the path of a file that holds the value, as',
    'container platforms mount secrets. One line break at the end is dropped. `NAME` and `NAME_FILE`',
    'together are refused, and so is a misspelt `MINTMARK_…` variable.',
    '',
    '```sh',
    'MINTMARK_MASTER_KEY_FILE=/run/secrets/master-key mintmark serve',
    '```',
    '',
    'Prefer files for what is marked **secret**: an environment is inherited by child processes and',
    'shown by process listings of the same user.',
    '',
    '## All settings',
    '',
    '| name | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
    '## Read by the command line',
    '',
    '| name | default | meaning |',
    '| --- | --- | --- |',
    '| `MINTMARK_URL` | `http://127.0.0.1:8080` | Server that commands speak to. |',
    '| `MINTMARK_TOKEN` | | Token that they use; also as `MINTMARK_TOKEN_FILE`. **Secret.** |',
    '| `NODE_EXTRA_CA_CERTS` | | File with certificates to trust besides the usual ones. |',
    '| `NO_COLOR` | | When set, nothing is coloured. |',
  ].join('\n')}\n`
}
