import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { linesByTurn } from './log-stream.ts'

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
