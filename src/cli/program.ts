import { Command } from 'commander'
import { VERSION } from '../version.ts'
import { adminCommands } from './commands/admin.ts'
import { auditCommands } from './commands/audit.ts'
import { backupCommands } from './commands/backup.ts'
import { clientCommands } from './commands/client.ts'
import { completionCommand } from './commands/completion.ts'
import { configCommand } from './commands/config.ts'
import { drillCommands } from './commands/drill.ts'
import { eventCommands } from './commands/event.ts'
import { grantCommands } from './commands/grant.ts'
import { groupCommands } from './commands/group.ts'
import { helpMarkdownCommand } from './commands/help-markdown.ts'
import { importCommand } from './commands/import.ts'
import { jobCommands } from './commands/job.ts'
import { keysCommands } from './commands/keys.ts'
import { leakCommands } from './commands/leak.ts'
import { loginCommands } from './commands/login.ts'
import { migrateCommand } from './commands/migrate.ts'
import { nodeCommands } from './commands/node.ts'
import { overviewCommand } from './commands/overview.ts'
import { policyCommands } from './commands/policy.ts'
import { roleCommands } from './commands/role.ts'
import { scanCommand } from './commands/scan.ts'
import { serveCommand } from './commands/serve.ts'
import { tokenCommands } from './commands/token.ts'
import { userCommands } from './commands/user.ts'
import { webhookCommands } from './commands/webhook.ts'
import type { Terminal } from './terminal.ts'

const ENVIRONMENT = `
Environment:
  MINTMARK_URL    server to speak to (default: http://127.0.0.1:8080)
  MINTMARK_TOKEN  token to use, or MINTMARK_TOKEN_FILE; mintmark login gets one

First steps:
  mintmark serve                                   run a server
  export MINTMARK_TOKEN="$(mintmark login admin)"  log in, in another terminal
  mintmark token create ci                         make a token
  mintmark token verify                            check one
  mintmark overview                                what there is, and what to look at`

/** Every command there is. Wrong usage throws, so that `main.ts` says it in one place. */
export function createProgram(terminal: Terminal): Command {
  const program = new Command('mintmark')
    .description('A self-hosted token authority: one server, one inventory, one audit trail.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      outputError: () => {},
    })
    .addHelpText('after', ENVIRONMENT)
  serveCommand(program)
  configCommand(program, terminal)
  migrateCommand(program, terminal)
  backupCommands(program, terminal)
  loginCommands(program, terminal)
  overviewCommand(program, terminal)
  tokenCommands(program, terminal)
  jobCommands(program, terminal)
  userCommands(program, terminal)
  groupCommands(program, terminal)
  roleCommands(program, terminal)
  clientCommands(program, terminal)
  grantCommands(program, terminal)
  policyCommands(program, terminal)
  keysCommands(program, terminal)
  importCommand(program, terminal)
  nodeCommands(program, terminal)
  drillCommands(program, terminal)
  auditCommands(program, terminal)
  eventCommands(program, terminal)
  webhookCommands(program, terminal)
  leakCommands(program, terminal)
  adminCommands(program, terminal)
  scanCommand(program, terminal)
  completionCommand(program, terminal)
  helpMarkdownCommand(program, terminal)
  return program
}
