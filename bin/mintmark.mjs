#!/usr/bin/env node
// Plain JavaScript for any Node: finds the right one (24 or later), then starts the command line.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import * as modules from 'node:module'
import { fileURLToPath } from 'node:url'

const required = 24
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))

if (Number(process.versions.node.split('.')[0]) >= required) {
  // What Node makes of our sources is kept, if it can be, where only who installed them may write.
  modules.enableCompileCache(path('../node_modules/.cache/mintmark'))
  const source = '../src/cli/main.ts'
  await import(existsSync(path(source)) ? source : '../dist/cli/main.js')
} else {
  const pinned = path('../node_modules/node/bin/node')
  if (existsSync(pinned)) runWith(pinned)
  else {
    console.error(`Mintmark needs Node ${required} or later; this is ${process.version}.`)
    process.exit(1)
  }
}

/** Becomes, as nearly as a process can, the same command under another Node. */
function runWith(node) {
  const child = spawn(node, [...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit' })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']
  const forward = (signal) => child.kill(signal)
  for (const signal of signals) process.on(signal, forward)

  child.on('error', (error) => {
    console.error(`Mintmark could not start ${node}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (status, signal) => {
    if (!signal) process.exit(status)
    for (const each of signals) process.off(each, forward)
    process.kill(process.pid, signal)
  })
}
