import type { Mode, Question } from '@mintmark/sdk'
import type { Command } from 'commander'
import { groupGrant } from './values.ts'

export interface DemandOptions {
  env?: string
  role?: string
  scope?: string
  group?: { group: string; mode: Mode }
  ip?: string
  audience?: string
}

/** Options of the commands that are about a secret, and about what it should be good for. */
export function aboutSecret(command: Command): Command {
  return command
    .argument('[secret]', 'the secret; - or nothing: from stdin')
    .option('--env <name>', 'read the secret from this environment variable')
    .option('--role <name>', 'must hold this role')
    .option('--scope <scope>', 'must hold this scope')
    .option('--group <group:mode>', 'must reach this mode in this group', groupGrant)
    .option('--ip <address>', 'presented by a client at this address')
    .option('--audience <resource>', 'presented to this resource')
}

/** How these options are told to the API. */
export function demandOf(options: DemandOptions): Omit<Question, 'token'> {
  const { role, scope, group, ip, audience } = options
  return {
    ...(role === undefined ? {} : { role }),
    ...(scope === undefined ? {} : { scope }),
    ...(group ?? {}),
    ...(ip === undefined ? {} : { ip }),
    ...(audience === undefined ? {} : { audience }),
  }
}
