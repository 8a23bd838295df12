import { Command } from 'commander'
import { exitWith, serve } from '../main.ts'
import { VERSION } from '../version.ts'

const program = new Command('mintmark').version(VERSION)
program.command('serve').description('run the server').action(serve)
program.parseAsync().catch(exitWith)
