import type { Command } from 'commander'
import { branch } from '../command.ts'
import type { Terminal } from '../terminal.ts'
import { changeTokenCommands } from './token-change.ts'
import { childTokenCommands } from './token-child.ts'
import { createTokenCommand } from './token-create.ts'
import { explainTokenCommand } from './token-explain.ts'
import { tokenInventoryCommands } from './token-inventory.ts'
import { readTokenCommands } from './token-read.ts'
import { revokeTokenCommands } from './token-revoke.ts'
import { rotateTokenCommands } from './token-rotation.ts'
import { tokenUseCommands } from './token-use.ts'
import { verifyTokenCommand } from './token-verify.ts'

export function tokenCommands(program: Command, terminal: Terminal): void {
  const token = branch(program, 'token', 'Issue, inspect, rotate, revoke and verify tokens')
  createTokenCommand(token, terminal)
  childTokenCommands(token, terminal)
  readTokenCommands(token, terminal)
  tokenInventoryCommands(token, terminal)
  changeTokenCommands(token, terminal)
  revokeTokenCommands(token, terminal)
  rotateTokenCommands(token, terminal)
  tokenUseCommands(token, terminal)
  verifyTokenCommand(token, terminal)
  explainTokenCommand(token, terminal)
}
