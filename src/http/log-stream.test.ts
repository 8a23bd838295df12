import { existsSync, openSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { linesByTurn, patientLog } from './log-stream.ts'

function collected() {
  const written: string[] = []
  return { written, target: { write: (text: string) => void written.push(text) } }
}

test('lines of one turn are written at once, in order, in the next', async () => {
  const { written, target } = collected()
  const lines = linesByTurn(target)
  lines.write('a\n')
  lines.write('b\n')
  expect(written).toEqual([])
  await turn()
  expect(written).toEqual(['a\nb\n'])
  lines.write('c\n')
  await turn()
  expect(written).toEqual(['a\nb\n', 'c\n'])
})

test('no more than some text is held back', () => {
  const { written, target } = collected()
  const lines = linesByTurn(target)
  for (let i = 0; i < 100; i++) lines.write(`${'x'.repeat(1000)}\n`)
  expect(written).toHaveLength(1)
})

test('what is held back can be written before the process ends', async () => {
  const { written, target } = collected()
  const lines = linesByTurn(target)
  lines.write('last\n')
  lines.flushSync()
  expect(written).toEqual(['last\n'])
  await turn()
  expect(written).toEqual(['last\n'])
})

test.runIf(existsSync('/dev/full'))('a log that cannot be written is told of once', () => {
  const told: string[] = []
  const log = patientLog(openSync('/dev/full', 'w'), (sentence) => told.push(sentence))
  for (let i = 0; i < 3000; i++) log.write(`${'x'.repeat(1000)}\n`)
  expect(told).toEqual([
    'The log cannot be written (ENOSPC: no space left on device, write). Mintmark goes on without it.\n',
  ])
})
