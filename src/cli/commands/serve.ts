import type { Command } from 'commander'
import { explained } from '../command.ts'

export function serveCommand(program: Command): void {
  explained(program.command('serve'), {
    summary: 'Run the server',
    details:
      'Settings are environment variables; `mintmark config` lists them. The first start makes the first admin and prints how to log in. SIGTERM and Ctrl-C let requests under way finish.',
    examples: ['mintmark serve', 'MINTMARK_PORT=9000 MINTMARK_DATA_DIR=./here mintmark serve'],
  }).action(async () => {
    // Loaded here, because the whole server is behind it and other commands start without.
    const { exitWith, serve } = await import('../../main.ts')
    await serve().catch(exitWith)
  })
}
