import { type Command, Option } from 'commander'
import { type Help, leaf } from './command.ts'
import type { JsonOption } from './output.ts'

/** What `changing` adds to the options of a command; true and false come of a `--no-wait` of its own. */
export interface ChangeOption extends JsonOption {
  wait?: 'all' | 'none' | boolean
}

/** A command that changes something. All of them take --wait, besides what a leaf takes. */
export function changing(parent: Command, name: string, help: Help): Command {
  const wait = new Option(
    '--wait <nodes>',
    'all (default): return when all nodes have applied it; none: at once',
  )
  return leaf(parent, name, help).addOption(wait.choices(['all', 'none']))
}
